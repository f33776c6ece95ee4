-- +goose Up

create table cluster (
    only_row boolean primary key default true check (only_row),
    members  bigint  not null default 1,
    secret   bytea   not null default decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex')
);
comment on table cluster is 'One row: what all nodes of the cluster share.';
comment on column cluster.members is 'Grows whenever a node joins the cluster or is put out of it.';
comment on column cluster.secret is 'With it the nodes sign what they say to each other.';
insert into cluster default values;

create table cluster_nodes (
    name       text   primary key,
    epoch      bigint not null,
    address    text   not null,
    member     boolean not null,
    joined     bigint not null,
    seen       bigint not null,
    beat       bigint not null,
    draining   boolean not null default false,
    version    text   not null default '',
    lease      interval not null,
    renewed_at timestamptz not null default clock_timestamp()
);
comment on table cluster_nodes is 'The nodes that may own service addresses.';
comment on column cluster_nodes.epoch is 'Grows with every start of the node''s program.';
comment on column cluster_nodes.address is 'Where the other nodes ask it directly.';
comment on column cluster_nodes.member is 'False: it was put out while it was silent, or has left, and may claim nothing before it has joined again.';
comment on column cluster_nodes.joined is 'cluster.members when it joined. It may claim from those nodes only whose seen is not below it.';
comment on column cluster_nodes.seen is 'The cluster.members of which the node has last said that it knows it.';
comment on column cluster_nodes.beat is 'Grows with every renewal of the lease.';
comment on column cluster_nodes.lease is 'How long a renewal holds.';

create table service_addresses (
    address inet    not null,
    port    integer not null,
    owner   text references cluster_nodes (name),
    epoch   bigint  not null default 1,
    since   timestamptz not null default now(),
    primary key (address, port)
);
create index service_addresses_owner on service_addresses (owner);
comment on table service_addresses is 'The addresses that LACs call; each with its tunnels and sessions belongs to one node.';
comment on column service_addresses.owner is 'Null: nobody''s yet.';
comment on column service_addresses.epoch is 'Grows whenever the address changes hands.';

create table pool_ranges (
    network cidr not null,
    pool    text not null,
    node    text not null,
    constraint pool_ranges_once exclude using gist (network inet_ops with &&)
);
create index pool_ranges_node on pool_ranges (node);
comment on table pool_ranges is 'Which node hands out which subscribers'' addresses; no address is handed out by two.';

create table events (
    at      timestamptz not null,
    node    text not null,
    kind    text not null,
    local   inet,
    tunnel_id integer,
    session_id integer,
    user_name text not null default '',
    cause   text not null default '',
    detail  text not null default ''
) partition by range (at);
create index events_at on events (at);
create index events_user_name on events (user_name, at) where user_name <> '';
create table events_default partition of events default;
comment on table events is
    'What happened, by month: tunnels and sessions that came, went or were refused, and addresses that changed hands. Best effort: what happens while the database is away is missing.';

create view recent_events as
select at, node, kind, host(local) as local, tunnel_id, session_id, user_name, cause, detail from events order by at desc;
comment on view recent_events is 'The events, the latest first.';

create view cluster_status as
select n.name as node, n.address, n.epoch, n.version,
       case when not n.member then 'out' when n.draining then 'draining'
            when clock_timestamp() - n.renewed_at > n.lease then 'silent' else 'alive' end as state,
       date_trunc('milliseconds', clock_timestamp() - n.renewed_at) as renewed_ago, n.lease,
       (select coalesce(string_agg(host(a.address) || ':' || a.port, ', ' order by a.address, a.port), '')
        from service_addresses a where a.owner = n.name) as addresses,
       (select count(*) from tunnels t where t.node = n.name) as tunnels,
       (select count(*) from sessions s where s.node = n.name) as sessions
from cluster_nodes n;
comment on view cluster_status is 'Every node with its lease, its addresses and what is on them.';

-- +goose StatementBegin
create function maintain_partitions(parent text, stamp text, keep interval) returns void language plpgsql as $$
declare
    month date := date_trunc('month', now());
    part  text;
begin
    for i in 0..2 loop
        part := parent || '_' || to_char(month, 'YYYY_MM');
        if to_regclass(part) is null then
            begin
                execute format('create table %I partition of %I for values from (%L) to (%L)',
                               part, parent, month, month + interval '1 month');
            exception when check_violation then
                null; -- the default partition has rows of that month, and keeps them
            end;
        end if;
        month := month + interval '1 month';
    end loop;
    if keep is null then
        return;
    end if;
    for part in
        select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = parent::regclass and c.relname ~ ('^' || parent || '_\d{4}_\d{2}$')
          and to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month' < now() - keep
    loop
        execute format('drop table %I', part);
    end loop;
    execute format('delete from %I where %I < now() - $1', parent || '_default', stamp) using keep;
end
$$;

create or replace function maintain_session_history(keep interval) returns void language plpgsql as $$
begin
    -- One at a time, in the whole database.
    perform pg_advisory_xact_lock(hashtext('maintain_session_history'));
    perform maintain_partitions('session_history', 'ended_at', keep);
    perform maintain_partitions('events', 'at', keep);
end
$$;
-- +goose StatementEnd
comment on function maintain_partitions(text, text, interval) is
    'Makes the monthly partitions of a table for this month and the next two, and drops those with nothing younger than keep (null: none).';
comment on function maintain_session_history(interval) is
    'maintain_partitions for session_history and events.';
select maintain_session_history(null);

-- +goose Down
-- +goose StatementBegin
create or replace function maintain_session_history(keep interval) returns void language plpgsql as $$
begin
    perform pg_advisory_xact_lock(hashtext('maintain_session_history'));
    perform maintain_partitions('session_history', 'ended_at', keep);
end
$$;
-- +goose StatementEnd
drop view cluster_status, recent_events;
drop table events, pool_ranges, service_addresses, cluster_nodes, cluster;
