-- Reads entries without changing anything.
--
-- KEYS  as in fence.lua
-- ARGV  1 the group, 2 where to begin, as XRANGE has it, 3 how many at most, 4 most bytes (one entry is always allowed)
-- Returns {id, fields, state, count} of each

local stream, due = KEYS[1], KEYS[2]
if redis.call('EXISTS', stream) == 0 then
  return redis.error_reply('NOGROUP there is no such stream')
end
local function later(a, b) -- whether the id a is higher than b
  local a1, a2 = string.match(a, '(%d+)-(%d+)')
  local b1, b2 = string.match(b, '(%d+)-(%d+)')
  if a1 == b1 then
    a1, b1 = a2, b2
  end
  return #a1 > #b1 or (#a1 == #b1 and a1 > b1)
end

local last
for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local seen = {}
  for i = 1, #info, 2 do
    seen[info[i]] = info[i + 1]
  end
  last = seen.name == ARGV[1] and seen['last-delivered-id'] or last
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found, room, cursor = {}, tonumber(ARGV[4]), ARGV[2]
local wanted = tonumber(ARGV[3])
repeat
  local some = redis.call('XRANGE', stream, cursor, '+', 'COUNT', math.min(20, wanted - #found))
  local held = {}
  if last and #some > 0 then
    for _, entry in ipairs(redis.call('XPENDING', stream, ARGV[1], some[1][1], some[#some][1], 1000)) do
      held[entry[1]] = entry
    end
  end
  for _, entry in ipairs(some) do
    local id, state, count = entry[1], 'settled', 0
    if not last or later(id, last) then
      state = 'waiting'
    elseif held[id] then
      count = held[id][4]
      local when = redis.call('ZSCORE', due, id)
      state = not when and 'leased' or tonumber(when) > now and 'delayed' or 'waiting'
    end
    found[#found + 1] = { id, entry[2], state, count }
    for _, text in ipairs(entry[2]) do
      room = room - #text
    end
    cursor = '(' .. id
  end
until #some == 0 or room < 0 or #found >= wanted
return found
