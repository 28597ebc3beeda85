-- Begins the leases of what is ours anew. JUSTID: the count stays.

redis.call('ZREM', KEYS[2], unpack(ours)) -- as in requeue.lua
local words = { KEYS[1], ARGV[1], ARGV[2], 0 }
for i, id in ipairs(ours) do
  words[i + 4] = id
end
words[#words + 1] = 'JUSTID'
redis.call('XCLAIM', unpack(words))
return late
