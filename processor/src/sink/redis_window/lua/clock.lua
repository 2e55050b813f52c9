-- The clock of Redis, in whole seconds: one clock for all instances.
local function time()
    return tonumber(redis.call('TIME')[1])
end

