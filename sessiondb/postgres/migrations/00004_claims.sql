-- +goose Up

alter table cluster add column claims bigint not null default 1;
comment on column cluster.claims is 'Grows whenever an address changes hands.';
alter table cluster_nodes add column serves text[] not null default '{}';
comment on column cluster_nodes.serves is 'The addresses and ports that it can serve.';

-- +goose Down
alter table cluster drop column claims;
alter table cluster_nodes drop column serves;
