-- Requeues what is ours: it belongs to a consumer that does not exist, until it is due.
--
-- ARGV  4 milliseconds from now

-- A write that frees memory comes first: after it Redis lets the others pass although maxmemory is reached.
redis.call('ZREM', KEYS[2], unpack(ours))
local time = redis.call('TIME')
local due = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[4]))
local words = { KEYS[1], ARGV[1], REQUEUED, 0 }
local scores = {}
for i, id in ipairs(ours) do
  words[i + 4] = id
  scores[2 * i - 1], scores[2 * i] = due, id
end
words[#words + 1] = 'JUSTID'
redis.call('XCLAIM', unpack(words))
redis.call('ZADD', KEYS[2], unpack(scores))
return late
