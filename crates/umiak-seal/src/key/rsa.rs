//! New RSA keys: two primes and what follows from them (FIPS 186-5 A.1.3, RFC 8017 3.2).
//!
//! Guarantees: the modulus has exactly the bits that were asked for, the exponent is 65537, p is above q. Whether the
//! numbers belong together is verified by the reader of the result, which is another implementation (ring).

use crypto_bigint::{BoxedUint, ConcatenatingMul as _, Limb, NonZero, Odd};
use crypto_primes::hazmat::{SetBits, SmallFactorsSieveFactory};
use crypto_primes::{Flavor, is_prime, sieve_and_find};
use getrandom::SysRng;
use pkcs8::rand_core::{TryRng as _, UnwrapErr};
use zeroize::Zeroizing;

use crate::der;
use crate::error::SealError;

/// The public exponent: Fermat's fourth prime.
const EXPONENT: u32 = 65537;

/// A key of `bits` bits, PKCS#8 in DER.
pub(super) fn generate(bits: u32) -> Result<Zeroizing<Vec<u8>>, SealError> {
    // Whoever can give one number can give more: below, a failure would be a panic.
    SysRng.try_next_u64().map_err(|_| SealError::Random)?;
    loop {
        let (first, second) = (prime(bits / 2)?, prime(bits / 2)?);
        let numbers = match first.cmp(&second) {
            std::cmp::Ordering::Greater => numbers(&first, &second),
            std::cmp::Ordering::Less => numbers(&second, &first),
            std::cmp::Ordering::Equal => None,
        };
        if let Some(numbers) = numbers {
            let numbers: Vec<Zeroizing<Vec<u8>>> =
                numbers.iter().map(|number| Zeroizing::new(der::integer(&number.to_be_bytes()))).collect();
            let version = der::integer(&[]);
            let parts: Vec<&[u8]> = std::iter::once(&version[..]).chain(numbers.iter().map(|n| &n[..])).collect();
            let key = Zeroizing::new(der::sequence(&parts));
            let key = Zeroizing::new(der::value(der::OCTET_STRING, &[&key]));
            return Ok(Zeroizing::new(der::sequence(&[&version, &der::algorithm(None), &key])));
        }
    }
}

/// A random prime whose two highest bits are set, so that the product of two has all its bits.
fn prime(bits: u32) -> Result<BoxedUint, SealError> {
    let sieve = SmallFactorsSieveFactory::<BoxedUint>::new(Flavor::Any, bits, SetBits::TwoMsb);
    let sieve = sieve.map_err(|error| SealError::Form(error.to_string()))?;
    let found = sieve_and_find(&mut UnwrapErr(SysRng), sieve, |_, candidate| is_prime(Flavor::Any, candidate));
    found.map_err(|error| SealError::Form(error.to_string()))?.ok_or(SealError::Random)
}

/// The numbers of RFC 8017 A.1.2 in their order; `None` when the exponent has no inverse for these primes.
fn numbers(p: &BoxedUint, q: &BoxedUint) -> Option<[BoxedUint; 8]> {
    let one = |number: &BoxedUint| number.wrapping_sub(BoxedUint::one_with_precision(number.bits_precision()));
    let (p_1, q_1) = (one(p), one(q));
    let phi = p_1.concatenating_mul(&q_1);
    let d = inverse_of_exponent(&phi)?;
    let below = |modulus: BoxedUint| Some(d.rem(&Option::<NonZero<BoxedUint>>::from(NonZero::new(modulus))?));
    let (d_p, d_q) = (below(p_1)?, below(q_1)?);
    let odd = Option::<Odd<BoxedUint>>::from(Odd::new(p.clone()))?;
    let q_inverse = Option::<BoxedUint>::from(q.invert_odd_mod(&odd))?;
    Some([p.concatenating_mul(q), BoxedUint::from(EXPONENT), d, p.clone(), q.clone(), d_p, d_q, q_inverse])
}

/// The number d with `EXPONENT * d = 1` modulo `phi`: `(k * phi + 1) / EXPONENT` for the one k that leaves no rest. The
/// exponent is a prime, so a power is its inverse (Fermat).
fn inverse_of_exponent(phi: &BoxedUint) -> Option<BoxedUint> {
    let exponent = u64::from(EXPONENT);
    let limb = Option::<NonZero<Limb>>::from(NonZero::new(Limb::from(EXPONENT)))?;
    #[allow(clippy::unnecessary_cast, reason = "on machines of 32 bits a limb has only these")]
    let rest = phi.rem_limb(limb).0 as u64;
    if rest == 0 {
        return None;
    }
    let inverse = (0..exponent - 2).fold(1, |power, _| power * rest % exponent);
    let k = BoxedUint::from(exponent - inverse);
    let product = phi.concatenating_mul(&k);
    let one = BoxedUint::one_with_precision(product.bits_precision());
    let (d, left) = product.wrapping_add(&one).div_rem_limb(limb);
    (left == Limb::ZERO).then_some(d)
}
