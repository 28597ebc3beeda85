-- Finds the queue; creates it if it is missing and the attributes of a new one are given.
--
-- KEYS  1 the queue's zset, 2 the queue's hash, 3 Penstock's marks; to create it, 4 the set of all queues' names
-- ARGV  to create it: 1 its name, 2 vt and 3 delay in seconds, 4 maxsize in bytes
-- Returns the queue's vt, or false if there is no such queue

local vt = redis.call('HGET', KEYS[2], 'vt')
if vt or #ARGV == 0 then
  return vt
end
local now = redis.call('TIME')[1]
for field, value in pairs({ vt = ARGV[2], delay = ARGV[3], maxsize = ARGV[4], created = now, modified = now }) do
  redis.call('HSETNX', KEYS[2], field, value)
end
redis.call('SADD', KEYS[4], ARGV[1])
return redis.call('HGET', KEYS[2], 'vt')
