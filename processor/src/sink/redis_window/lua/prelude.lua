-- A rolling window, kept by scripts alone. This part stands in front of each of them.
--
-- One window is one atomic unit in one hash slot. Of a window K these are the keys ({K} is K itself, where K has a
-- hash tag of its own):
--
--   K                       what clients read: member -> total / 1000, totals above zero only; with a TTL
--   {K}:meta                incarnation  random id, given when the window is created
--                           length       seconds that a contribution stays
--                           by           what a member is: content, device or content_type; content where it is missing
--                           clock        the latest second seen; never goes back
--                           visible      how many totals are above zero
--                           reset        number of the last reset that was obeyed; 0 where none was
--                           counts       how many fields and members the companions below have
--                           cursor       there while the public key is made again: "<scan>/<cursor>"
--                           whole        from this second on it has all that it should; 0 where it always had
--                           base         what it was made from, where that was the table: "<log> <lsn> <snapshot> <taken> <since>"
--                           doubted      breaks in the order of what was committed up to here (microseconds) are known of; 0: none
--                           replayed     there where it was given up because the source was replayed: see give_up.lua
--                           "<log>/<partition>"  how far the order of the source was followed: "<over> <commit> <lsn> <time> <mark>…",
--                                        <over> being 1 where the log has passed the base; moved with the position, never without
--   {K}:positions           "<log>/<partition>" -> offset; "pieces" -> how much of the table is in, as the number of pieces,
--                           2^63 - 1 for all
--   {K}:totals              member -> milliseconds, never zero
--   {K}:buckets             "<incarnation>:<second>", scored by second: which buckets have cells
--   {K}:future              the same of the buckets whose time has not come
--   {K}:b:<incarnation>:<second>   a bucket: a list of packs of cells; a pack is a MessagePack array: member, milliseconds, …
--   {K}:f:<incarnation>:<second>   a bucket whose time has not come
--                           (both outlive their time by a week at most: those that nothing names any more go by themselves)
--   {K}:draft               the public key in the making
-- and of a leaderboard by content type, whose cells and totals are those of contents:
--   {K}:groups              content -> "<version>:<type>", the newest that this window was told; of no type: "<version>:"
--   {K}:sums                type -> milliseconds, never zero; what the public key shows in place of the totals
--   {K}:untold              contents whose type it was not told yet, or by a write alone: to be told by whoever ticks
--
-- What always holds, before and after every script:
--   1. A total is the sum of its cells in all the buckets {K}:b:*, whatever the clock says.
--   2. Cells of seconds after the clock are in {K}:f:*; no record adds to a bucket that has expired.
--   3. The public key (or the draft, for what was scanned or touched) shows the totals above zero; by content type
--      the sums, each of which is the sum of the totals of the contents that have the type by {K}:groups.
--   4. By content type, each content with a total is in {K}:groups, or in {K}:untold, or in both.
-- So expiry and admission can go in pieces of any size: when nothing is due any more, the buckets are just those of
-- the window, and by 1 the totals are too.
--
-- A write puts a pack to the bucket as it came, whatever other packs say of the same members: one command for each bucket, not
-- for each cell.
--
-- Numbers: Lua has doubles, exact up to 2^53 (285,000 years in milliseconds); totals are made by HINCRBY.

local public, meta, positions, totals, buckets, future, draft, groups, sums, untold = unpack(KEYS)
local prefix = ARGV[1]
local call = redis.call

local state = call('HMGET', meta, 'incarnation', 'length', 'clock', 'visible', 'counts', 'cursor', 'by')
local incarnation, length = state[1], tonumber(state[2])
local visible, cursor, by = tonumber(state[4]), state[6], state[7] or 'content'

-- Reading the size of each key also makes sure of its type, before anything is written.
local function count()
    local sizes = {call('HLEN', positions), call('HLEN', totals), call('ZCARD', buckets), call('ZCARD', future)}
    if by == 'content_type' then
        sizes[5], sizes[6], sizes[7] = call('HLEN', groups), call('HLEN', sums), call('SCARD', untold)
    end
    return table.concat(sizes, ':')
end

-- A window is lost when its meta key is, or when another key was removed under it.
local sizes = count()
local lost = not incarnation or state[5] ~= sizes
local shown = call('ZCARD', public)

local clock, low = nil, nil
local function look_at_clock()
    clock = math.max(time(), tonumber(state[3]) or 0)
    low = clock - (length or 0) -- the first second that has not expired
end

-- Where some partitions stand: position and how far the order of the source was followed, '' for none, of each field.
local function standing(fields, into)
    if #fields > 0 then
        local offsets, reached = call('HMGET', positions, unpack(fields)), call('HMGET', meta, unpack(fields))
        for i = 1, #fields do
            into[#into + 1] = offsets[i] or ''
            into[#into + 1] = reached[i] or ''
        end
    end
    return into
end

-- Whether something was written: from there on an error leaves the window torn, and it is given up (see the end).
local begun = false

-- Calls a command of many arguments in pieces that fit Lua's stack.
local CHUNK = 1000
local function many(command, key, list)
    for from = 1, #list, CHUNK do
        call(command, key, unpack(list, from, math.min(from + CHUNK - 1, #list)))
    end
end

-- Milliseconds by name, in the order of first touch.
local function sheet()
    return {order = {}, ms = {}}
end

local function gather(into, name, ms)
    local sum = into.ms[name]
    if not sum then
        into.order[#into.order + 1] = name
    end
    into.ms[name] = (sum or 0) + ms
end

-- What a script changes in the totals.
local changes = sheet()

-- Thrown where a bucket that the index names has no cells: somebody removed it. Were it written to, it would look whole and
-- hold too little, and its totals would stay for ever.
local TORN = {}

-- How long a bucket that nothing names any more stays beyond its time. Whoever was away for longer than topics keep records by
-- default counts anew anyway.
local ORPHANED = 7 * 24 * 3600

-- So often the last packs of a bucket are put into one, so that it grows with its members and not with the writes to it, as long as
-- those are small. Bounded is how many cells that takes in, for it is a part of a write, and how many the new pack has, for a tick
-- takes a pack at once. What is larger than all behind it together is not taken again.
local MOST_PACKS = 32
local MERGED = 700
local TAKEN = 2500
local function merge(key, packs)
    local sum, last, taken = sheet(), 0, 0
    while last < packs and taken < TAKEN do
        local cells = cmsgpack.unpack(call('LINDEX', key, -last - 1))
        local size = #cells / 2
        if last > 0 and (size > taken or #sum.order + size > MERGED) then
            break
        end
        last, taken = last + 1, taken + size
        for i = 1, #cells, 2 do
            gather(sum, cells[i], cells[i + 1])
        end
    end
    if last < 2 then
        return
    end
    local merged = {}
    for _, member in ipairs(sum.order) do
        if sum.ms[member] ~= 0 then
            merged[#merged + 1] = member
            merged[#merged + 1] = sum.ms[member]
        end
    end
    call('LTRIM', key, 0, -last)
    call('LSET', key, -1, cmsgpack.pack(merged))
end

-- Adds a pack of cells to a bucket.
local function add(index, kind, second, pack)
    local name = incarnation .. ':' .. second
    local key = prefix .. kind .. name
    local packs = call('RPUSH', key, pack)
    if packs == 1 then
        if call('ZADD', index, second, name) == 0 then
            error(TORN)
        end
        call('EXPIRE', key, math.max(second - clock, 0) + length + ORPHANED)
    elseif (packs + second) % MOST_PACKS == 0 then -- not of all buckets in the same write
        merge(key, packs)
    end
    if index == buckets then
        local cells = cmsgpack.unpack(pack)
        for i = 1, #cells, 2 do
            gather(changes, cells[i], cells[i + 1])
        end
    end
end

-- Adds what was gathered to the fields of a hash. Answers what it did: {name, before, after} of each that changed.
local function add_up(hash, gathered)
    local done, zero = {}, {}
    for _, name in ipairs(gathered.order) do
        local ms = gathered.ms[name]
        if ms ~= 0 then
            local total = call('HINCRBY', hash, name, string.format('%d', ms))
            if total == 0 then
                zero[#zero + 1] = name
            end
            done[#done + 1] = {name, total - ms, total}
        end
    end
    many('HDEL', hash, zero)
    return done
end

-- A total as clients see it: Redis reads the double nearest to the decimal. Short texts are quicker than numbers, which a script
-- hands over with 17 digits.
local function score(total)
    return string.format('%de-3', total)
end

-- Shows what has changed.
local function display(changed)
    local board, show, hide = cursor and draft or public, {}, {}
    for _, change in ipairs(changed) do
        local name, before, total = unpack(change)
        if total > 0 then
            show[#show + 1] = score(total)
            show[#show + 1] = name
        elseif before > 0 then
            hide[#hide + 1] = name
        end
        visible = visible + (total > 0 and 1 or 0) - (before > 0 and 1 or 0)
    end
    many('ZADD', board, show)
    many('ZREM', board, hide)
end

-- What changes of totals mean for the sums of a leaderboard by content type: see groups.lua.
local regroup

-- Brings the totals and the public key up to what was done to the cells.
local function settle()
    local changed = add_up(totals, changes)
    if by == 'content_type' then
        changed = add_up(sums, regroup(changed))
    end
    display(changed)
end

-- How much of the table is in, while somebody fills the window with it.
local function half_filled()
    local pieces = call('HGET', positions, 'pieces')
    return pieces ~= '9223372036854775807' and pieces
end

-- The public key is not what it should be (removed by hand, expired while nobody kept it): it is made again, as a
-- draft that takes its place when it is whole.
local function notice_missing_public()
    if not cursor and shown ~= visible then
        call('UNLINK', draft)
        cursor = '1/0'
    end
end

-- The public key must not outlive those who keep it, nor 600 seconds.
local MAX_TTL_MS = 600000
local function finish()
    local ttl = math.min(length * 1000, MAX_TTL_MS)
    if not cursor and visible > 0 and call('PTTL', public) < ttl * 0.75 then
        call('PEXPIRE', public, ttl)
    end
    local counts = count()
    if clock ~= tonumber(state[3]) or visible ~= tonumber(state[4]) or counts ~= state[5] then
        call('HSET', meta, 'clock', clock, 'visible', visible, 'counts', counts)
    end
    if cursor and cursor ~= state[6] then
        call('HSET', meta, 'cursor', cursor)
    elseif state[6] and not cursor then
        call('HDEL', meta, 'cursor')
    end
end
