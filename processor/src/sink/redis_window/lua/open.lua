
-- Says where the window stands, and creates it where it is to be.
--
-- ARGV: prefix, incarnation to give if it is created ('': it is not), length in seconds, by, number of the reset that is to
--       be obeyed (0: none), second from which it is whole (0: at once), what it is based on ('': nothing), a window that
--       is half filled and to be given up for it ("<incarnation>/<pieces>"), up to when the order of the source is in doubt (0: it
--       is not), position field…
-- Answer: {'ok', incarnation, what it is based on or '', up to when it is in doubt, offset or '' and how far the order was followed or
--         '' of each field}, {'lost', why} where there is none and none was to be created (see give_up.lua),
--         {'halfway', incarnation, pieces} where somebody fills it, {'more'} where it has to be called again, {'other', seconds, by}
--         where the window is kept with another length, or by something else.
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
    local replayed = call('HGET', meta, 'replayed')
    call('UNLINK', unpack(KEYS))
    incarnation, by = ARGV[2], ARGV[4]
    if ARGV[7] ~= '' then
        -- Filled in pieces, and shown when it is full.
        call('HSET', positions, 'pieces', 0)
        call('HSET', meta, 'base', ARGV[7], 'cursor', '1/0')
        -- Whoever has to begin this anew must not count from the log either.
        if replayed then
            call('HSET', meta, 'replayed', replayed)
        end
    end
    call('HSET', meta, 'incarnation', incarnation, 'length', ARGV[3], 'by', by, 'clock', time(), 'visible', 0,
        'reset', ARGV[5], 'whole', ARGV[6], 'doubted', ARGV[9], 'counts', count())
    return true
end

local function main()
    local pieces = not lost and half_filled()
    if pieces and ARGV[8] ~= incarnation .. '/' .. pieces then
        return {'halfway', incarnation, pieces}
    end
    -- Several workers obey one reset, each for its own partitions: the first one empties the window.
    if lost or pieces or tonumber(ARGV[5]) > tonumber(call('HGET', meta, 'reset') or 0) then
        if ARGV[2] == '' then
            return {'lost', call('HGET', meta, 'replayed') or ''}
        end
        if not create() then
            return {'more'}
        end
    elseif length ~= tonumber(ARGV[3]) or by ~= ARGV[4] then
        return {'other', length, by}
    end
    local answer = {'ok', incarnation, call('HGET', meta, 'base') or '', tonumber(call('HGET', meta, 'doubted') or 0)}
    return standing({unpack(ARGV, 10)}, answer)
end
