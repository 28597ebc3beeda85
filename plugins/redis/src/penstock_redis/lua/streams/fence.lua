-- Which deliveries are still the caller's. The scripts for entries go on from here.
--
-- KEYS  1 the stream, 2 the zset of what was requeued (id, due in ms), 3 the hash of leases (consumer, ms),
--       4 the hash of calls that never ended (id, number)
-- ARGV  1 the group, 2 the consumer, 3 "id count ..." with spaces: a delivery is ours as long as the group's list of
--       pending entries has it under this consumer with this count
-- Leaves the ids in `ours`, and the positions, from 0, of the others in `late`.

local REQUEUED = 'penstock:requeued'
local ours, late, position = {}, {}, 0
for id, count in string.gmatch(ARGV[3], '(%S+) (%S+)') do
  local found = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[2])[1]
  if found and found[4] == tonumber(count) then
    ours[#ours + 1] = id
  else
    late[#late + 1] = position
  end
  position = position + 1
end
if #ours == 0 then
  return late
end
