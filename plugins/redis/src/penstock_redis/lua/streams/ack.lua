-- Acknowledges what is ours.

redis.call('XACK', KEYS[1], ARGV[1], unpack(ours))
if redis.call('EXISTS', KEYS[4]) == 1 then
  redis.call('HDEL', KEYS[4], unpack(ours))
end
return late
