-- +goose Up

create table nodes (
    name       text primary key,
    first_seen timestamptz not null default now(),
    last_seen  timestamptz not null default now()
);
comment on table nodes is 'The L2TP network servers that write to this database.';
comment on column nodes.last_seen is 'When the node last wrote here; at most some seconds behind.';

create table tunnels (
    local_address inet    not null,
    local_port    integer not null,
    tunnel_id     integer not null,
    node          text    not null,
    peer_address  inet,
    peer_port     integer,
    peer_id       integer not null,
    peer_name     text    not null,
    profile       text    not null,
    peer_window   integer not null,
    ns            integer not null,
    nr            integer not null,
    started_at    timestamptz,
    primary key (local_address, local_port, tunnel_id)
) with (fillfactor = 70);
create index tunnels_node on tunnels (node);
comment on table tunnels is 'L2TP control connections that are up, as of a second ago.';
comment on column tunnels.local_address is 'Our address; the LAC sends to it. With local_port and tunnel_id the key.';
comment on column tunnels.tunnel_id is 'Our Assigned Tunnel ID.';
comment on column tunnels.node is 'The node that has the tunnel.';
comment on column tunnels.peer_address is 'The LAC''s address.';
comment on column tunnels.peer_id is 'The LAC''s Assigned Tunnel ID.';
comment on column tunnels.peer_name is 'The LAC''s Host Name.';
comment on column tunnels.profile is 'The LAC profile that applies.';
comment on column tunnels.peer_window is 'The LAC''s Receive Window Size, in messages.';
comment on column tunnels.ns is 'The sequence number of the next control message to the LAC.';
comment on column tunnels.nr is 'The sequence number of the next control message expected from the LAC.';

create table sessions (
    local_address   inet    not null,
    local_port      integer not null,
    tunnel_id       integer not null,
    session_id      integer not null,
    node            text    not null,
    peer_id         integer not null,
    acct_session_id text    not null,
    user_name       text    not null,
    profile         text    not null,
    lac_address     inet,
    lac_port        integer,
    calling_station text    not null,
    called_station  text    not null,
    call_serial     bigint  not null,
    address         inet,
    routes          cidr[],
    started_at      timestamptz,
    state           bytea,
    in_octets       bigint  not null,
    out_octets      bigint  not null,
    in_packets      bigint  not null,
    out_packets     bigint  not null,
    updated_at      timestamptz,
    primary key (local_address, local_port, tunnel_id, session_id),
    -- Checked at the end of a statement, so that two sessions of one batch
    -- may exchange their addresses.
    constraint sessions_address_once unique (address) deferrable initially immediate,
    constraint sessions_address_is_a_host
        check (masklen(address) = case family(address) when 4 then 32 else 128 end)
) with (fillfactor = 70);
create unique index sessions_acct_session_id_once on sessions (acct_session_id) where acct_session_id <> '';
create index sessions_user_name on sessions (user_name);
create index sessions_node on sessions (node);
comment on table sessions is 'Subscriber sessions that are up, as of a second ago.';
comment on column sessions.local_address is 'Our address of the session''s tunnel. With local_port, tunnel_id and session_id the key.';
comment on column sessions.session_id is 'Our Assigned Session ID, unique in the tunnel.';
comment on column sessions.node is 'The node that has the session.';
comment on column sessions.peer_id is 'The LAC''s Assigned Session ID.';
comment on column sessions.acct_session_id is 'RADIUS Acct-Session-Id, unique for ever.';
comment on column sessions.user_name is 'User-Name. Octets that are not text are written \xNN, in all columns of type text.';
comment on column sessions.calling_station is 'Calling-Station-Id.';
comment on column sessions.called_station is 'Called-Station-Id.';
comment on column sessions.call_serial is 'Call Serial Number.';
comment on column sessions.address is 'The subscriber''s IPv4 address; no two sessions have the same.';
comment on column sessions.routes is 'What is routed to the subscriber besides the address.';
comment on column sessions.state is 'What a node needs to go on with the session; of no meaning here.';
comment on column sessions.in_octets is 'Octets of IP from the subscriber, as of updated_at.';
comment on column sessions.out_octets is 'Octets of IP to the subscriber, as of updated_at.';

create table session_history (
    ended_at        timestamptz not null,
    acct_session_id text    not null,
    local_address   inet    not null,
    local_port      integer not null,
    tunnel_id       integer not null,
    session_id      integer not null,
    node            text    not null,
    user_name       text    not null,
    profile         text    not null,
    lac_address     inet,
    lac_port        integer,
    calling_station text    not null,
    called_station  text    not null,
    call_serial     bigint  not null,
    address         inet,
    routes          cidr[],
    started_at      timestamptz,
    cause           text    not null,
    in_octets       bigint  not null,
    out_octets      bigint  not null,
    in_packets      bigint  not null,
    out_packets     bigint  not null,
    -- What makes writing the same end twice one row.
    primary key (acct_session_id, ended_at, session_id, tunnel_id)
) partition by range (ended_at);
create index session_history_user_name on session_history (user_name, ended_at);
create index session_history_address on session_history (address, ended_at);
create table session_history_default partition of session_history default;
comment on table session_history is
    'Sessions that have ended, by month. The end of one that ended while the database was away may be missing, or have the cause "unknown", a late ended_at and old counters.';
comment on column session_history.cause is 'Acct-Terminate-Cause.';

create table accounting_outbox (
    node            text   not null,
    seq             bigint not null,
    acct_session_id text   not null,
    payload         bytea  not null,
    primary key (node, seq)
);
comment on table accounting_outbox is 'Accounting records that no RADIUS server has acknowledged yet.';
comment on column accounting_outbox.seq is 'The order in which the node sends them.';

create table objects (
    node    text not null,
    kind    text collate "C" not null,
    name    text collate "C" not null,
    payload bytea not null,
    primary key (node, kind, name)
);
comment on table objects is 'What operators added to a node by its API, such as LAC profiles (kind lac).';

create view current_sessions as
select user_name, address, routes, acct_session_id, node, profile,
       host(lac_address) as lac, calling_station, called_station,
       started_at, date_trunc('second', now() - started_at) as age,
       in_octets, out_octets, in_packets, out_packets, updated_at as counted_at,
       host(local_address) as local, local_port, tunnel_id, session_id
from sessions;
comment on view current_sessions is 'Subscriber sessions that are up.';

create view current_tunnels as
select t.peer_name as lac_name, host(t.peer_address) as lac, t.peer_port as lac_port, t.profile, t.node,
       (select count(*) from sessions s
        where s.local_address = t.local_address and s.local_port = t.local_port and s.tunnel_id = t.tunnel_id) as sessions,
       t.started_at, date_trunc('second', now() - t.started_at) as age,
       host(t.local_address) as local, t.local_port, t.tunnel_id, t.peer_id
from tunnels t;
comment on view current_tunnels is 'Tunnels that are up, with the number of their sessions.';

create view addresses_in_use as
select address::cidr as network, 'address' as use, user_name, acct_session_id, node from sessions where address is not null
union all
select r, 'route', user_name, acct_session_id, node from sessions, unnest(routes) r;
comment on view addresses_in_use is 'Every address and network of a session that is up.';

create view unsent_accounting as
select node, seq, acct_session_id, encode(payload, 'escape') as record from accounting_outbox;
comment on view unsent_accounting is 'Accounting records that wait, in a form that can be read.';

-- +goose StatementBegin
create function maintain_session_history(keep interval) returns void language plpgsql as $$
declare
    month date := date_trunc('month', now());
    part  text;
begin
    -- One at a time, in the whole database.
    perform pg_advisory_xact_lock(hashtext('maintain_session_history'));
    for i in 0..2 loop
        part := 'session_history_' || to_char(month, 'YYYY_MM');
        if to_regclass(part) is null then
            begin
                execute format('create table %I partition of session_history for values from (%L) to (%L)',
                               part, month, month + interval '1 month');
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
        where i.inhparent = 'session_history'::regclass and c.relname ~ '^session_history_\d{4}_\d{2}$'
          and to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month' < now() - keep
    loop
        execute format('drop table %I', part);
    end loop;
    delete from session_history_default where ended_at < now() - keep;
end
$$;
-- +goose StatementEnd
comment on function maintain_session_history(interval) is
    'Makes the partitions of this month and the next two, and drops those with nothing younger than keep (null: none).';
select maintain_session_history(null);

-- +goose Down
drop view unsent_accounting, addresses_in_use, current_tunnels, current_sessions;
drop function maintain_session_history(interval);
drop table objects, accounting_outbox, session_history, sessions, tunnels, nodes;
