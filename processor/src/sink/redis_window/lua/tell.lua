
-- Tells a window the types of contents: those that it has no total of are passed over, and so is what it knows better.
--
-- ARGV: prefix, then content, version, type ('' for none), …
-- Answer: {'ok'}, {'gone'} where the window is lost.
local function main()
    if lost then
        return {'gone'}
    end
    look_at_clock()
    -- The first write is one that Redis refuses where memory is short: so it refuses the whole.
    call('HSET', meta, 'clock', clock)
    begun = true
    notice_missing_public()
    tell(ARGV, 2)
    settle()
    finish()
    return {'ok'}
end
