
-- Applies a batch and moves the positions of its partitions, by compare and set: all or nothing.
--
-- ARGV: prefix, incarnation believed in, number of spans, number of buckets, then
--       a span:    position field, offset expected ('' for none), offset to move to, how far the order of the source is followed
--                  then ('' for no further than before)
--       a bucket:  second, a pack of its cells
--       by content type, of the contents in the cells, as far as it is known: content, version, type
-- Answer: {'ok'}, {'gone'} (no such window, or another incarnation), {'held', offset or '' and how far the order was followed or ''
--         of each span}.
local function main()
    if lost or incarnation ~= ARGV[2] then
        return {'gone'}
    end
    local spans, filling, at = tonumber(ARGV[3]), tonumber(ARGV[4]), 5
    local fields, moves, expected, reached = {}, {}, {}, {}
    for i = 1, spans do
        fields[i], expected[i] = ARGV[at], ARGV[at + 1]
        moves[2 * i - 1], moves[2 * i] = ARGV[at], ARGV[at + 2]
        if ARGV[at + 3] ~= '' then
            reached[#reached + 1] = ARGV[at]
            reached[#reached + 1] = ARGV[at + 3]
        end
        at = at + 4
    end
    local held, same = call('HMGET', positions, unpack(fields)), true
    for i = 1, spans do
        held[i] = held[i] or ''
        same = same and held[i] == expected[i]
    end
    if not same then
        return standing(fields, {'held'})
    end

    look_at_clock()
    -- The first write is one that Redis refuses where memory is short: so it refuses the whole.
    many('HSET', positions, moves)
    begun = true
    many('HSET', meta, reached)
    notice_missing_public()
    for _ = 1, filling do
        local second, pack = ARGV[at], ARGV[at + 1]
        if tonumber(second) > clock then
            add(future, 'f:', second, pack)
        elseif tonumber(second) >= low then
            add(buckets, 'b:', second, pack)
        end
        at = at + 2
    end
    told.along = true
    tell(ARGV, at)
    settle()
    finish()
    return {'ok'}
end
