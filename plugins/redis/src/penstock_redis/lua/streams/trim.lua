-- Removes the oldest entries while there are more than allowed: never one that a group has not acknowledged.
--
-- KEYS  1 the stream
-- ARGV  1 how many entries may stay, 2 most bytes that are looked at
-- Returns 1 how many there are now, 2 the group that still needs the first of them, or ''

local stream = KEYS[1]
local excess = redis.call('XLEN', stream) - tonumber(ARGV[1])
if excess <= 0 then
  return { 0, '' }
end
local function later(a, b) -- whether the id a is higher than b
  local a1, a2 = string.match(a, '(%d+)-(%d+)')
  local b1, b2 = string.match(b, '(%d+)-(%d+)')
  if a1 == b1 then
    a1, b1 = a2, b2
  end
  return #a1 > #b1 or (#a1 == #b1 and a1 > b1)
end

-- What each group has behind it: all below its first pending entry, else all up to the last that was delivered.
local limit, pending, slowest
for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local seen = {}
  for i = 1, #info, 2 do
    seen[info[i]] = info[i + 1]
  end
  local first = seen.pending > 0 and redis.call('XPENDING', stream, seen.name)[2]
  local id = first or seen['last-delivered-id']
  if not limit or later(limit, id) or (limit == id and first) then
    limit, pending, slowest = id, first, seen.name
  end
end
if not limit then
  return { excess + tonumber(ARGV[1]), '' } -- without a group no program has read anything
end
local room, cursor, newest = tonumber(ARGV[2]), '-', nil
repeat
  local some = redis.call('XRANGE', stream, cursor, '+', 'COUNT', math.min(20, excess))
  for _, entry in ipairs(some) do
    if later(entry[1], limit) or (pending and entry[1] == limit) then
      some = {}
      break
    end
    newest, cursor, excess = entry[1], '(' .. entry[1], excess - 1
    for _, text in ipairs(entry[2]) do
      room = room - #text
    end
  end
until #some == 0 or excess == 0 or room < 0
if newest then
  local first, second = string.match(newest, '(%d+)-(%d+)')
  local next_one = redis.call('XRANGE', stream, '(' .. newest, '+', 'COUNT', 1)[1]
  redis.call('XTRIM', stream, 'MINID', '=', next_one and next_one[1] or first .. '-' .. string.format('%.0f', second + 1))
end
return { redis.call('XLEN', stream), excess > 0 and room >= 0 and slowest or '' }
