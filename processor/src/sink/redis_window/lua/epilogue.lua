
-- Scripts don't roll back. Everything is checked before the first write, so nothing should fail after it; if
-- something does all the same, the window is given up as lost, to be made anew, rather than kept half changed.
local ok, answer = pcall(main)
if ok then
    return answer
end
if begun then
    call('HDEL', meta, 'incarnation')
end
if answer == TORN then
    return {'gone'}
end
local text = type(answer) == 'table' and answer.err or tostring(answer)
return redis.error_reply((string.gsub(text, '^@?user_script: ?%d+: ', '')))
