-- +goose Up

alter table service_addresses add column lingers interval not null default '0';
comment on column service_addresses.lingers is
    'For how long after since the node that gave the address away may still forward for it; its new owner answers when the other has stopped.';

-- Every later migration that programs of this version can live with leaves oldest alone; one
-- that they cannot live with sets it to its own number.
create table schema_fits (
    only_row boolean primary key default true check (only_row),
    oldest   bigint  not null
);
comment on table schema_fits is 'One row: programs that were made for schema version oldest, or a later one, may use this schema.';
insert into schema_fits (oldest) values (5);

-- +goose Down
drop table schema_fits;
alter table service_addresses drop column lingers;
