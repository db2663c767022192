//! Until when a certificate is valid: the one field that is read of X.509 here (RFC 5280 §4.1.2.5).

/// Tags of DER (ITU-T X.690).
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// One element: its tag, its contents, what comes after it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first & 0x7f);
    if first & 0x80 != 0 {
        let (bytes, after) =
            rest.split_at_checked(length).filter(|(bytes, _)| (1..=3).contains(&bytes.len()))?;
        length = bytes.iter().fold(0, |sum, b| (sum << 8) | usize::from(*b));
        rest = after;
    }
    let (contents, after) = rest.split_at_checked(length)?;
    Some((tag, contents, after))
}

/// The contents of an element that must have this tag, and what comes after it.
fn expect(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    element(der).filter(|(found, ..)| *found == tag).map(|(_, contents, after)| (contents, after))
}

/// The end of a certificate's validity in seconds of Unix time, or none where it cannot be read.
#[must_use]
pub fn not_after(certificate: &[u8]) -> Option<u64> {
    let (certificate, _) = expect(SEQUENCE, certificate)?;
    let (mut body, _) = expect(SEQUENCE, certificate)?;
    if let Some((_, after)) = expect(VERSION, body) {
        body = after;
    }
    let (_, body) = expect(INTEGER, body)?; // serial number
    let (_, body) = expect(SEQUENCE, body)?; // signature
    let (_, body) = expect(SEQUENCE, body)?; // issuer
    let (validity, _) = expect(SEQUENCE, body)?;
    let (_, _, end) = element(validity)?;
    let (tag, time, _) = element(end)?;
    let digits = std::str::from_utf8(time).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year: u64 = year.parse().ok()?;
            (if year < 50 { 2_000 + year } else { 1_900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<u64>().ok();
    let (month, day) = (part(0)?, part(2)?);
    let days = days_before(year, month)?.checked_add(day.checked_sub(1)?)?;
    Some(days * 86_400 + part(4)? * 3_600 + part(6)? * 60 + part(8)?)
}

/// Days from 1970 to the first of a month.
fn days_before(year: u64, month: u64) -> Option<u64> {
    let before = year.checked_sub(1).filter(|_| (1_970..10_000).contains(&year))?;
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let is_leap = leap_days(year) > leap_days(before);
    let months = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let in_year = months.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    let leap_day = u64::from(is_leap && month > 2);
    Some((year - 1_970) * 365 + leap_days(before) - leap_days(1_969) + in_year + leap_day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(year: i32, month: u8, day: u8) -> u64 {
        let mut params = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, month, day);
        let key = rcgen::KeyPair::generate().unwrap();
        not_after(params.self_signed(&key).unwrap().der()).unwrap()
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_forms_of_time() {
        // date -u -d 2027-03-01 +%s, and so on
        assert_eq!(ending(2027, 3, 1), 1_803_859_200);
        assert_eq!(ending(2028, 2, 29), 1_835_395_200);
        assert_eq!(ending(2028, 12, 31), 1_861_833_600);
        assert_eq!(ending(2050, 1, 1), 2_524_608_000);
        assert_eq!(ending(2100, 3, 1), 4_107_542_400);
    }

    #[test]
    fn what_is_cut_off_or_no_certificate_has_no_end() {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        for n in 0..der.len() {
            let mut odd = der.clone();
            odd.truncate(n);
            assert_eq!(not_after(&odd), None);
        }
        assert_eq!(not_after(b"0\x80"), None);
    }
}
