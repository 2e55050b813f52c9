
-- Leaderboards by content type: which type a content has, and the sums of the types.
--
-- A window sums by content, as the others do, so that what an event added is taken back to the millisecond whatever
-- type its content has meanwhile. A content's whole total is in the sum of one type: the newest that was told.

-- The types told in this call, of contents in the order of telling. `along`: by a write, which knows of its contents what
-- was known when it was made. Something newer may have been told while there was no total to tell it to, so a type that
-- came first by a write is not taken for the newest before whoever ticks has told it as well.
local told = {order = {}, version = {}, type = {}, along = false}

-- Takes in a list of content, version, type, … from `first` on.
local function tell(list, first)
    for i = first, #list, 3 do
        local content = list[i]
        told.order[#told.order + 1] = content
        told.version[content], told.type[content] = list[i + 1], list[i + 2]
    end
end

-- HMGET of any number of fields.
local function read(hash, fields)
    local values = {}
    for from = 1, #fields, CHUNK do
        for _, value in ipairs(call('HMGET', hash, unpack(fields, from, math.min(from + CHUNK - 1, #fields)))) do
            values[#values + 1] = value
        end
    end
    return values
end

-- Adds the contents that were told of and whose totals have not changed to those whose totals have.
local function with_told(changed)
    local has_changed, rest = {}, {}
    for _, change in ipairs(changed) do
        has_changed[change[1]] = true
    end
    for _, content in ipairs(told.order) do
        if not has_changed[content] then
            has_changed[content] = true
            rest[#rest + 1] = content
        end
    end
    for i, total in ipairs(read(totals, rest)) do
        if total then
            changed[#changed + 1] = {rest[i], tonumber(total), tonumber(total)}
        end
    end
    return changed
end

-- Moves contents between types, as far as they were told of or their totals have changed. Answers what that means for
-- the sums, as a sheet.
regroup = function(changed)
    local gathered = sheet()
    local contents, set, drop, forget, miss = {}, {}, {}, {}, {}
    with_told(changed)
    for i, change in ipairs(changed) do
        contents[i] = change[1]
    end
    local function count_in(group, ms)
        if group and group ~= '' then
            gather(gathered, group, ms)
        end
    end
    for i, entry in ipairs(read(groups, contents)) do
        local content, before, total = unpack(changed[i])
        local version, was
        if entry then
            version, was = string.match(entry, '^(%d+):(.*)$')
        end
        local is, newest = was, told.version[content]
        local confirmed = not told.along and newest and (not was or tonumber(newest) >= tonumber(version))
        if newest and (not was or tonumber(newest) > tonumber(version)) then
            is = told.type[content]
        else
            newest = nil
        end
        count_in(was, -before)
        count_in(is, total)
        if total == 0 then
            drop[#drop + 1] = content
            forget[#forget + 1] = content
        else
            if newest then
                set[#set + 1] = content
                set[#set + 1] = newest .. ':' .. is
            end
            if confirmed then
                forget[#forget + 1] = content
            elseif not was then
                miss[#miss + 1] = content
            end
        end
    end
    many('HSET', groups, set)
    many('HDEL', groups, drop)
    many('SREM', untold, forget)
    many('SADD', untold, miss)
    return gathered
end
