# shellcheck shell=bash
# Redis: append-only file, no eviction, loopback.

redis_answers() { [[ $(redis-cli -h "$HOST" -p "$REDIS_PORT" PING 2>/dev/null) == PONG ]]; }

redis_start() {
    local data=$STATE/redis
    mkdir -p -- "$data"
    render "$ROOT/stack/config/redis.conf" HOST REDIS_PORT >"$data/redis.conf"
    # The folder is set here and not in the file, where a blank in the path would need quoting.
    spawn redis redis-server "$data/redis.conf" --dir "$data"
    await redis 60 redis_answers
}

redis_stop() { stop_process redis TERM 20; }
