-- +goose Up

alter table tunnels add column state bytea;
comment on column tunnels.state is 'What the LNS needs beside these columns to go on with the control connection; not for people.';

-- +goose Down

alter table tunnels drop column state;
