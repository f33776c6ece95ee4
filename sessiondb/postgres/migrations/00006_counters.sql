-- +goose Up

create table session_counters (
    acct_session_id text   primary key,
    node            text   not null,
    in_octets       bigint not null,
    out_octets      bigint not null,
    in_packets      bigint not null,
    out_packets     bigint not null,
    counted_at      timestamptz not null
) with (fillfactor = 50);
comment on table session_counters is
    'What sessions have counted, as of some seconds ago; rows of sessions that have ended stay for some minutes. View current_sessions has the latest.';

create or replace view current_sessions as
select s.user_name, s.address, s.routes, s.acct_session_id, s.node, s.profile,
       host(s.lac_address) as lac, s.calling_station, s.called_station,
       s.started_at, date_trunc('second', now() - s.started_at) as age,
       greatest(s.in_octets, c.in_octets) as in_octets, greatest(s.out_octets, c.out_octets) as out_octets,
       greatest(s.in_packets, c.in_packets) as in_packets, greatest(s.out_packets, c.out_packets) as out_packets,
       greatest(s.updated_at, c.counted_at) as counted_at,
       host(s.local_address) as local, s.local_port, s.tunnel_id, s.session_id
from sessions s left join session_counters c using (acct_session_id);

-- +goose Down
create or replace view current_sessions as
select user_name, address, routes, acct_session_id, node, profile,
       host(lac_address) as lac, calling_station, called_station,
       started_at, date_trunc('second', now() - started_at) as age,
       in_octets, out_octets, in_packets, out_packets, updated_at as counted_at,
       host(local_address) as local, local_port, tunnel_id, session_id
from sessions;
drop table session_counters;
