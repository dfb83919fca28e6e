# `just` lists the recipes; each is one line that can be typed without just.

[private]
default:
    @just --list --unsorted

# Start a local mesh, one coordinator and three agents, and leave it running
dev *ARGS:
    cargo run --bin flt -- dev up {{ARGS}}

# Walk the whole path once: join, sign, publish, converge, heal
demo *ARGS:
    cargo run --release --bin flt -- dev demo {{ARGS}}

# Check everything that is checked before a change is taken; never writes to the worktree
verify:
    scripts/test fmt nix lock clippy deny doc doctests tests

# Apply formatting and what clippy can repair by itself
fix:
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
    cargo fmt --all
    if command -v nixfmt >/dev/null; then find flake.nix nix nixos-tests crates -name '*.nix' -exec nixfmt {} +; else echo 'nixfmt is not installed'; fi

# Run tests: just test, just test -p scores, just test nix_modules
test *ARGS:
    cargo nextest run --workspace {{ARGS}}

# Write the golden files of the Nix modules anew; read the difference
golden:
    FLT_UPDATE_GOLDEN=1 cargo nextest run -p flt nix_modules

# Measure
bench *ARGS:
    cargo bench --workspace {{ARGS}}

# Run a NixOS test in virtual machines, on a machine with Nix and KVM: just vm smoke
vm NAME="smoke":
    nix build --print-build-logs .#checks.x86_64-linux.{{NAME}}

# Play failover schedules from seeds, on every core or on FLT_CORES: just simulate 100000; from a seed on: just simulate 100000 1042000
simulate COUNT="1000000" SEED="1000000":
    FLT_SCHEDULES={{COUNT}} FLT_SEED={{SEED}} cargo test --release -p failover --test it -- --ignored --nocapture on_demand

# Tell one failover schedule event by event: just simulate-replay 4711 (with a theme: FLT_THEME=Links)
simulate-replay SEED:
    FLT_SEED={{SEED}} cargo test -p failover --test it -- --ignored --nocapture replay
