-- Tells others how long this consumer's leases are, and removes consumers that are long gone and have nothing.
--
-- ARGV  1 the group, 2 the consumer, 3 its lease in milliseconds, 4 milliseconds after which one is gone

redis.call('HDEL', KEYS[3], ARGV[2]) -- as the ZREM in requeue.lua
redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local seen = {}
  for i = 1, #info, 2 do
    seen[info[i]] = info[i + 1]
  end
  local ours = string.sub(seen.name, 1, 9) == 'penstock:' and seen.name ~= 'penstock:requeued'
  if ours and seen.name ~= ARGV[2] and seen.pending == 0 and seen.idle > tonumber(ARGV[4]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], seen.name)
    redis.call('HDEL', KEYS[3], seen.name)
  end
end
return 1
