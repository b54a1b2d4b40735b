//! The results of a host.

fn main() {
    for (name, check) in checks::CHECKS {
        println!("CHECK {name} {:016x}", check());
    }
    for (name, product) in checks::products::PRODUCTS {
        println!("CHECK {name} {:016x}", checks::products::results(product));
    }
}
