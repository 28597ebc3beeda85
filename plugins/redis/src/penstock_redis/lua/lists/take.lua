-- Takes the oldest messages out of the list and keeps them under a lease, all in one step.
--
-- KEYS  1 the list, 2 the zset of leases (id, end in ms), 3 the zset of what comes before the list (id, id),
--       4 the zset of what was requeued with a delay (id, due), 5 the zset of delayed records (random:body, due),
--       6 the hash: b:ID the body, n:ID deliveries, d:ID its lease ended, c:ID calls that never ended, `taken` the last id
-- ARGV  1 'L' or 'R': the end that is taken from, 2 the lease in milliseconds ('0': raw, nothing is kept),
--       3 most messages, 4 most bytes (one message is always allowed)
-- Returns 1 "id count length abandoned ..." with spaces, 2 the bodies end to end

local list, leases, back, delayed, later, data = unpack(KEYS)
local pop = ARGV[1] .. 'POP'
local push = (ARGV[1] == 'L' and 'R' or 'L') .. 'PUSH'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- A write that frees memory comes first: after it Redis lets the others pass although maxmemory is reached.
redis.call('HDEL', data, '')
for _, record in ipairs(redis.call('ZRANGEBYSCORE', later, '-inf', now, 'LIMIT', 0, 500)) do
  redis.call(push, list, string.sub(record, string.find(record, ':', 1, true) + 1))
  redis.call('ZREM', later, record)
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, 500)) do
  redis.call('ZADD', back, id, id)
  redis.call('ZREM', delayed, id)
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, 500)) do
  redis.call('ZADD', back, id, id)
  redis.call('ZREM', leases, id)
  redis.call('HSET', data, 'd:' .. id, 1)
end

local heads, bodies, scores, room = {}, {}, {}, tonumber(ARGV[4])
local ends = string.format('%.0f', now + tonumber(ARGV[2]))
local function hand_out(id, count, body, abandoned)
  local number = #bodies
  heads[4 * number + 1], heads[4 * number + 2] = id, count
  heads[4 * number + 3], heads[4 * number + 4] = #body, abandoned
  scores[2 * number + 1], scores[2 * number + 2] = ends, id
  bodies[number + 1] = body
  room = room - #body
end

for _, id in ipairs(redis.call('ZRANGE', back, 0, tonumber(ARGV[3]) - 1)) do
  local found = redis.call('HMGET', data, 'b:' .. id, 'n:' .. id, 'd:' .. id, 'c:' .. id)
  if #bodies > 0 and room < #(found[1] or '') then
    room = 0
    break
  end
  redis.call('ZREM', back, id)
  if found[1] then
    local calls = tonumber(found[4] or 0)
    local count = tonumber(found[2] or 1) + 1
    redis.call('HSET', data, 'n:' .. id, count)
    redis.call('HDEL', data, 'd:' .. id)
    hand_out(id, count, found[1], (found[3] or calls > 0) and calls + 1 or 0)
  end
end
local taken = tonumber(redis.call('HGET', data, 'taken') or 0)
local fields = {}
while #bodies < tonumber(ARGV[3]) and room > 0 do
  local body = redis.call(pop, list)
  if not body then
    break
  end
  taken = taken + 1
  local id = string.format('%.0f', taken)
  hand_out(id, 1, body, 0)
  fields[#fields + 1], fields[#fields + 2] = 'b:' .. id, body
end
if #fields > 0 then
  redis.call('HSET', data, 'taken', string.format('%.0f', taken))
end
if ARGV[2] ~= '0' and #scores > 0 then
  redis.call('ZADD', leases, unpack(scores))
  if #fields > 0 then
    redis.call('HSET', data, unpack(fields))
  end
end
return { table.concat(heads, ' '), table.concat(bodies) }
