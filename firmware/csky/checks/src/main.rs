//! The results of a host.

fn main() {
    for (name, check) in checks::CHECKS {
        println!("CHECK {name} {:016x}", check());
    }
}
