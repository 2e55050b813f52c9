
-- Moves the window on: takes out what has expired, takes in what has come due, makes the public key again where it is
-- missing, each in pieces. Any number of instances may do so as often as they like.
--
-- ARGV: prefix, number of cells to handle at most (about: the last pack is taken whole). A bucket counts as a cell more,
--       and a cell that is taken in counts twice: so long each takes. And a number that grows by one with each tick of
--       whoever ticks.
-- Answer: {'ok', incarnation, 1 where more is due, else 0, {position field, offset…}, second from which the window is whole or
--         0 where it is, 1 where until then it may hold some twice, content…}, {'gone'} where the window is lost. The contents are some whose type the window was not told yet, or by a write alone.
local budget = tonumber(ARGV[2])

local function missing(key)
    error('ERR the cells of a bucket are missing: somebody removed ' .. key)
end

-- Looks whether some buckets have cells, other ones with each tick: of a window of ten minutes all within two seconds.
local LOOKED_AT = 100
local function look_after(index, kind)
    local size = call('ZCARD', index)
    if size == 0 then
        return
    end
    local first = tonumber(ARGV[3]) * LOOKED_AT % size
    local keys = call('ZRANGE', index, first, first + LOOKED_AT - 1)
    for i, name in ipairs(keys) do
        keys[i] = prefix .. kind .. name
    end
    if call('EXISTS', unpack(keys)) < #keys then
        for _, key in ipairs(keys) do
            if call('EXISTS', key) == 0 then
                missing(key)
            end
        end
    end
end

-- Takes packs out of a bucket, up to the budget, and gives each to `use`. Answers whether the bucket is empty.
local function take(key, use)
    repeat
        local pack = call('LPOP', key)
        if not pack then
            return true
        end
        local cells = cmsgpack.unpack(pack)
        use(pack, cells)
        budget = budget - math.max(#cells / 2, 1)
    until budget <= 0
    return call('EXISTS', key) == 0
end

-- The oldest bucket of an index up to and including `last`: its name, its second and the key of its cells.
local function oldest(index, kind, last)
    local found = call('ZRANGEBYSCORE', index, '-inf', last, 'LIMIT', 0, 1)[1]
    if not found then
        return nil
    end
    local key = prefix .. kind .. found
    if call('EXISTS', key) == 0 then
        missing(key)
    end
    return found, string.match(found, ':(-?%d+)$'), key
end

local function expire()
    while budget > 0 do
        local name, _, key = oldest(buckets, 'b:', low - 1)
        if not name then
            return
        end
        local empty = take(key, function(_, cells)
            for i = 1, #cells, 2 do
                gather(changes, cells[i], -cells[i + 1])
            end
        end)
        budget = budget - 1
        if empty then
            call('ZREM', buckets, name)
        end
    end
end

local function admit()
    while budget > 0 do
        local name, second, key = oldest(future, 'f:', clock)
        if not name then
            return
        end
        local empty = true
        if tonumber(second) < low then
            -- Came and went while nobody looked: it was never counted.
            call('UNLINK', key)
            budget = budget - 1
        else
            empty = take(key, function(pack, cells)
                add(buckets, 'b:', second, pack)
                budget = budget - #cells / 2
            end)
            budget = budget - 1
        end
        if empty then
            call('ZREM', future, name)
        end
    end
end

-- Goes on with the draft. A member that is there from beginning to end is met by the scan; one that changes meanwhile
-- is written to the draft by whoever changes it. A cursor from before a restart of Redis may miss members: then the
-- numbers differ, and the scan begins again, a few times at most.
local MAX_SCANS = 3
local function redraft()
    local shown_of = by == 'content_type' and sums or totals
    local scans, from = string.match(cursor, '^(%d+)/(%d+)$')
    local page = call('HSCAN', shown_of, from, 'COUNT', budget)
    local show = {}
    for i = 1, #page[2], 2 do
        local total = tonumber(page[2][i + 1])
        if total > 0 then
            show[#show + 1] = score(total)
            show[#show + 1] = page[2][i]
        end
    end
    many('ZADD', draft, show)
    budget = budget - #page[2] / 2
    if page[1] ~= '0' then
        cursor = scans .. '/' .. page[1]
    elseif call('ZCARD', draft) == visible then
        call('UNLINK', public)
        if visible > 0 then
            call('RENAME', draft, public)
        end
        cursor = false
    elseif tonumber(scans) < MAX_SCANS then
        call('UNLINK', draft)
        cursor = tonumber(scans) + 1 .. '/0'
    else
        error('ERR the totals do not agree with their number: somebody changed ' .. shown_of)
    end
end

local UNTOLD = 200
local function main()
    if lost then
        return {'gone'}
    end
    -- A write that changes nothing, of a kind that Redis takes also where memory is short: what follows frees some.
    call('HDEL', meta, '')
    begun = true
    look_at_clock()
    look_after(buckets, 'b:')
    look_after(future, 'f:')
    notice_missing_public()
    expire()
    admit()
    settle()
    local halfway = half_filled()
    if cursor and budget > 0 and not halfway then
        redraft()
    end
    finish()
    local lacks = call('HMGET', meta, 'whole', 'doubted')
    local whole = tonumber(lacks[1] or 0)
    local answer = {'ok', incarnation, (budget <= 0 or cursor and not halfway) and 1 or 0,
        call('HGETALL', positions), whole > clock and whole or 0,
        (lacks[2] or '0') ~= '0' and 1 or 0}
    if by == 'content_type' then
        for _, content in ipairs(call('SRANDMEMBER', untold, UNTOLD)) do
            answer[#answer + 1] = content
        end
    end
    return answer
end
