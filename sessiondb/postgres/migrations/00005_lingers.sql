-- +goose Up

alter table service_addresses add column lingers interval not null default '0';
comment on column service_addresses.lingers is
    'For how long after since the node that gave the address away may still forward for it; its new owner answers when the other has stopped.';

-- +goose Down
alter table service_addresses drop column lingers;
