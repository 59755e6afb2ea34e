//! Names of commands, by which a client is told from a server that answers with an array of texts.

/// The commands of Redis 8, and of Valkey.
const COMMANDS: &str = "acl append asking auth bgrewriteaof bgsave bitcount bitfield bitfield_ro bitop bitpos blmove blmpop blpop brpop brpoplpush \
    bzmpop bzpopmax bzpopmin client cluster command config copy dbsize debug decr decrby del discard dump echo eval eval_ro evalsha \
    evalsha_ro exec exists expire expireat expiretime failover fcall fcall_ro flushall flushdb function geoadd geodist geohash \
    geopos georadius georadius_ro georadiusbymember georadiusbymember_ro geosearch geosearchstore get getbit getdel getex getrange \
    getset hdel hello hexists hexpire hexpireat hexpiretime hget hgetall hgetdel hgetex hincrby hincrbyfloat hkeys hlen hmget hmset \
    hpersist hpexpire hpexpireat hpexpiretime hpttl hrandfield hscan hset hsetex hsetnx hstrlen httl hvals incr incrby incrbyfloat \
    info keys lastsave latency lcs lindex linsert llen lmove lmpop lolwut lpop lpos lpush lpushx lrange lrem lset ltrim memory mget \
    migrate module monitor move mset msetnx multi object persist pexpire pexpireat pexpiretime pfadd pfcount pfmerge ping psetex \
    psubscribe psync pttl publish pubsub punsubscribe quit randomkey readonly readwrite rename renamenx replconf replicaof reset \
    restore role rpop rpoplpush rpush rpushx sadd save scan scard script sdiff sdiffstore select set setbit setex setnx setrange \
    shutdown sinter sintercard sinterstore sismember slaveof slowlog smembers smismember smove sort sort_ro spop spublish \
    srandmember srem sscan ssubscribe strlen subscribe substr sunion sunionstore sunsubscribe swapdb sync time touch ttl type unlink \
    unsubscribe unwatch wait waitaof watch xack xadd xautoclaim xclaim xdel xgroup xinfo xlen xpending xrange xread xreadgroup \
    xrevrange xtrim zadd zcard zcount zdiff zdiffstore zincrby zinter zintercard zinterstore zlexcount zmpop zmscore zpopmax zpopmin \
    zrandmember zrange zrangebylex zrangebyscore zrangestore zrank zrem zremrangebylex zremrangebyrank zremrangebyscore zrevrange \
    zrevrangebylex zrevrangebyscore zrevrank zscan zscore zunion zunionstore";

/// No name is longer than this, nor one that a module brings.
pub(super) const LONGEST: u64 = 32;

/// What names of commands begin with that modules bring.
const MODULES: [&[u8]; 8] = [b"bf.", b"cf.", b"cms.", b"ft.", b"json.", b"tdigest.", b"topk.", b"ts."];

/// Whether a command has that name.
pub(super) fn is_command(name: &[u8]) -> bool {
    let is_of = |module: &&[u8]| name.get(..module.len()).is_some_and(|start| start.eq_ignore_ascii_case(module));
    COMMANDS.split(' ').any(|known| known.as_bytes().eq_ignore_ascii_case(name)) || MODULES.iter().any(is_of)
}
