
-- Gives a window up, to be made anew. What it holds is no longer kept, and goes when it is made.
--
-- ARGV: prefix, incarnation believed in, why: '' or, where the source was replayed, the time (in microseconds since 1970) since
--       which the database has lived its present life, 0 where nothing is known of that
-- Answer: {'ok'}, {'gone'} (no such window, or another incarnation: somebody else was first).
local function main()
    if lost or incarnation ~= ARGV[2] then
        return {'gone'}
    end
    if ARGV[3] ~= '' then
        call('HSET', meta, 'replayed', ARGV[3])
    end
    call('HDEL', meta, 'incarnation')
    return {'ok'}
end
