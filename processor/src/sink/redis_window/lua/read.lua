
-- Reads a window whole, as it is at this moment. Writes nothing.
--
-- ARGV: prefix
-- Answer: {} where there is none, else flat lists: {incarnation, length, clock, cursor or '', base or ''}, positions, totals, the public
--         key with its scores, groups, sums, and what the next tick will do to the totals.
local public, meta, positions, totals, buckets, future, _, groups, sums = unpack(KEYS)
local call = redis.call

local state = call('HMGET', meta, 'incarnation', 'length', 'clock', 'cursor', 'base')
if not state[1] then
    return {}
end
local clock = tonumber(state[3])
local low = clock - tonumber(state[2])

-- Cells of buckets that expired before this clock are still in the totals, those that came due are not yet.
local due = {}
local function collect(index, kind, from, to, sign)
    for _, name in ipairs(call('ZRANGEBYSCORE', index, from, to)) do
        for _, pack in ipairs(call('LRANGE', ARGV[1] .. kind .. name, 0, -1)) do
            local cells = cmsgpack.unpack(pack)
            for i = 1, #cells, 2 do
                due[#due + 1] = cells[i]
                due[#due + 1] = string.format('%d', sign * cells[i + 1])
            end
        end
    end
end
collect(buckets, 'b:', '-inf', low - 1, -1)
collect(future, 'f:', low, clock, 1)

return {
    {state[1], state[2], state[3], state[4] or '', state[5] or ''},
    call('HGETALL', positions),
    call('HGETALL', totals),
    call('ZRANGE', public, 0, -1, 'WITHSCORES'),
    call('HGETALL', groups),
    call('HGETALL', sums),
    due
}
