-- Takes what is due again: what was requeued, and what a consumer has had for longer than its lease.
--
-- KEYS  as in fence.lua
-- ARGV  1 the group, 2 the consumer, 3 its lease in milliseconds, 4 how many entries at most, 5 '1': look for leases, too
-- Returns 1 {id, fields, count, abandoned} of each, 2 the ids of entries that are gone from the stream,
--         3 milliseconds until the next requeued one is due (-1: none waits)

local REQUEUED = 'penstock:requeued'
local stream, due, leases, calls = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, me, room = ARGV[1], ARGV[2], tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ids, counts, died = {}, {}, {}

local function note(entry, death)
  ids[#ids + 1], counts[entry[1]], died[entry[1]] = entry[1], entry[4], death
end

local function older(a, b)
  local a1, a2 = string.match(a, '(%d+)-(%d+)')
  local b1, b2 = string.match(b, '(%d+)-(%d+)')
  if a1 == b1 then
    a1, b1 = a2, b2
  end
  return #a1 < #b1 or (#a1 == #b1 and a1 < b1)
end

redis.call('HDEL', leases, '') -- as the ZREM in requeue.lua
local ready = redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, 5000)
table.sort(ready, older)
for i = 1, math.min(#ready, room) do
  local id = ready[i]
  redis.call('ZREM', due, id)
  local entry = redis.call('XPENDING', stream, group, id, id, 1, REQUEUED)[1]
  if entry then
    note(entry, false)
  end
end

if ARGV[5] == '1' then
  for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
    local name, pending
    for i = 1, #info, 2 do
      name = info[i] == 'name' and info[i + 1] or name
      pending = info[i] == 'pending' and info[i + 1] or pending
    end
    if name == REQUEUED then
      -- A due time that is lost (the key was deleted or evicted) is now.
      if pending > redis.call('ZCARD', due) + #ids then
        for _, entry in ipairs(redis.call('XPENDING', stream, group, '-', '+', 1000, REQUEUED)) do
          if not counts[entry[1]] then
            redis.call('ZADD', due, 'NX', now, entry[1])
          end
        end
      end
    elseif pending > 0 and #ids < room then
      local lease = redis.call('HGET', leases, name) or ARGV[3]
      for _, entry in ipairs(redis.call('XPENDING', stream, group, 'IDLE', lease, '-', '+', room - #ids, name)) do
        note(entry, name ~= me)
      end
    end
  end
end

local taken, gone = {}, {}
if #ids > 0 then
  local fields = {}
  for _, entry in ipairs(redis.call('XCLAIM', stream, group, me, 0, unpack(ids))) do
    if entry then -- Redis 6 has nil for an entry that is gone
      fields[entry[1]] = entry[2]
    end
  end
  for _, id in ipairs(ids) do
    local ended = tonumber(redis.call('HGET', calls, id) or 0)
    if fields[id] then
      local abandoned = (died[id] or ended > 0) and ended + 1 or 0
      taken[#taken + 1] = { id, fields[id], counts[id] + 1, abandoned }
    else
      -- Redis 6 would keep it pending for ever.
      redis.call('XACK', stream, group, id)
      redis.call('HDEL', calls, id)
      gone[#gone + 1] = id
    end
  end
end
local next_due = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
return { taken, gone, next_due and math.max(0, next_due - now) or -1 }
