-- Records how many calls of a message began and never ended, for those whose delivery is still the caller's.
--
-- KEYS  1 the queue's zset, 2 the queue's hash, 3 Penstock's marks
-- ARGV  1 "id token calls ..." with spaces, 2 seconds for which it is remembered
--
-- The number is given, not counted up: it may be run again after a lost answer.

-- As in receive.lua: lets the HSET pass when maxmemory is reached.
redis.call('HDEL', KEYS[2], '')

for id, token, calls in string.gmatch(ARGV[1], '(%S+) (%S+) (%S+)') do
  local score = redis.call('ZSCORE', KEYS[1], id)
  if score and tonumber(score) == tonumber(token) then
    if calls == '0' then
      redis.call('HDEL', KEYS[3], id .. ':calls')
    else
      redis.call('HSET', KEYS[3], id .. ':calls', calls)
    end
  end
end
redis.call('EXPIRE', KEYS[3], ARGV[2])
return 1
