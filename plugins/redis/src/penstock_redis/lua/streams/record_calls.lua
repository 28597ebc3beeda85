-- Records how many calls of an entry began and never ended, for what is ours.
--
-- ARGV  4 the number: given, not counted up, because this may be run again after a lost answer

redis.call('HDEL', KEYS[4], unpack(ours))
if ARGV[4] ~= '0' then
  for _, id in ipairs(ours) do
    redis.call('HSET', KEYS[4], id, ARGV[4])
  end
end
return late
