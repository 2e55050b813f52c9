
-- Says where the window stands, and creates it where there is none.
--
-- ARGV: prefix, incarnation to give if it is created, length in seconds, by, number of the reset that is to be obeyed
--       (0: none), position field…
-- Answer: {'ok', incarnation, offset or '' of each field}, {'more'} where it has to be called again,
--         {'other', seconds, by} where the window is kept with another length, or by something else.
local PURGE = 1000

-- Removes buckets of a former incarnation; answers whether all are gone.
local function purge(index, kind)
    local names = call('ZRANGE', index, 0, PURGE - 1)
    for _, name in ipairs(names) do
        call('UNLINK', prefix .. kind .. name)
    end
    many('ZREM', index, names)
    return #names < PURGE
end

local function create()
    call('HDEL', meta, 'incarnation')
    local empty = purge(buckets, 'b:')
    if not (purge(future, 'f:') and empty) then
        return false
    end
    call('UNLINK', unpack(KEYS))
    incarnation, by = ARGV[2], ARGV[4]
    call('HSET', meta, 'incarnation', incarnation, 'length', ARGV[3], 'by', by, 'clock', time(), 'visible', 0,
        'reset', ARGV[5], 'counts', count())
    return true
end

local function main()
    -- Several workers obey one reset, each for its own partitions: the first one empties the window.
    if lost or tonumber(ARGV[5]) > tonumber(call('HGET', meta, 'reset') or 0) then
        if not create() then
            return {'more'}
        end
    elseif length ~= tonumber(ARGV[3]) or by ~= ARGV[4] then
        return {'other', length, by}
    end
    local answer = {'ok', incarnation}
    if #ARGV > 5 then
        local held = call('HMGET', positions, unpack(ARGV, 6))
        for i = 1, #ARGV - 5 do
            answer[i + 2] = held[i] or ''
        end
    end
    return answer
end
