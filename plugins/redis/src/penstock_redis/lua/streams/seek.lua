-- Moves a group to another place, and forgets what is pending: what stands behind the place comes anyway.
--
-- KEYS  as in fence.lua
-- ARGV  1 the group, 2 the id behind which it goes on
-- Returns the name of a consumer that is at work, or false

for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local seen = {}
  for i = 1, #info, 2 do
    seen[info[i]] = info[i + 1]
  end
  local lease = tonumber(redis.call('HGET', KEYS[3], seen.name) or 0)
  if seen.name ~= 'penstock:requeued' and seen.idle < lease then
    return seen.name
  end
end
repeat
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1000)
  for _, entry in ipairs(pending) do
    redis.call('XACK', KEYS[1], ARGV[1], entry[1])
  end
until #pending == 0
redis.call('DEL', KEYS[2], KEYS[4])
redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], ARGV[2])
return false
