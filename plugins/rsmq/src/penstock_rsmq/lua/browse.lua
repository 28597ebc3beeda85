-- Reads messages without changing anything. Those that are gone are left out.
--
-- KEYS  1 the queue's zset, 2 the queue's hash, 3 Penstock's marks
-- ARGV  1 most bytes of bodies (one message is always allowed), 2... the ids
-- Returns 1 "id receive-count length state ..." with spaces, 2 the bodies end to end, 3 how many of the ids were read

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local room = tonumber(ARGV[1])
local heads, bodies, read = {}, {}, #ARGV - 1
for i = 2, #ARGV do
  local id = ARGV[i]
  local visible = redis.call('ZSCORE', KEYS[1], id)
  local body = redis.call('HGET', KEYS[2], id)
  if visible and body then
    room = room - #body
    if room < 0 and #bodies > 0 then
      read = i - 2
      break
    end
    local count = redis.call('HGET', KEYS[2], id .. ':rc') or '0'
    local state = 'waiting'
    if tonumber(visible) > now then
      -- Hidden without ever having been received, or requeued since it was: a delay. Otherwise a consumer has it.
      local delayed = count == '0' or redis.call('HGET', KEYS[3], id .. ':ok') == count
      state = delayed and 'delayed' or 'leased'
    end
    heads[#heads + 1] = table.concat({ id, count, #body, state }, ' ')
    bodies[#bodies + 1] = body
  end
end
return { table.concat(heads, ' '), table.concat(bodies), read }
