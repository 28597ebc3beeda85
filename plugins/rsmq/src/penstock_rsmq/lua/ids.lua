-- Reads some of the ids of a queue. Called until the cursor is 0, it has read each id that was there all the time.
--
-- KEYS  1 the queue's zset, 2 the queue's hash
-- ARGV  1 the cursor, '0' at first, 2 about how many ids
-- Returns 1 the next cursor, 2 the ids, with spaces

if redis.call('HEXISTS', KEYS[2], 'vt') == 0 then
  return redis.error_reply('NOQUEUE there is no such queue')
end
local scanned = redis.call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local ids = {}
for i = 1, #scanned[2], 2 do
  ids[#ids + 1] = scanned[2][i]
end
return { scanned[1], table.concat(ids, ' ') }
