-- Removes a consumer, unless entries are pending for it: Redis would forget those with it.
--
-- ARGV  1 the group, 2 the consumer

if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
  redis.call('HDEL', KEYS[3], ARGV[2])
end
return 1
