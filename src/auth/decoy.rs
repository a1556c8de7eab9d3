//! Checks for users who do not exist. Knows no user.

use std::hint::black_box;

use super::{Argon2idHash, ClearPassword, Credential, CredentialForm, Method, NtHash, PasswordCost, Why, verify};

/// One credential of each form that belongs to nobody. Checking against it costs what checking a real one costs, so an
/// unknown user name cannot be told from a wrong password by the clock.
#[derive(Debug, Clone)]
pub struct Decoy {
    argon2id: Credential,
    nt_hash: Credential,
    password: Credential,
}

impl Decoy {
    /// `cost` is the one new passwords are hashed with; the argon2id decoy is as dear. Runs no hash itself.
    pub fn new(cost: PasswordCost) -> Self {
        // A hash of nothing known: its 32 octets are not the output of any run of argon2id.
        let phc = format!("$argon2id$v=19${cost}$cmFkaG9sZCBkZWNveSEh$ZGVjb3kgZGVjb3kgZGVjb3kgZGVjb3kgZGVjb3kgISE");
        Self {
            argon2id: Credential::Argon2id(Argon2idHash::parse(&phc).expect("the text is fixed but for a valid cost")),
            nt_hash: Credential::NtHash(NtHash::from_bytes(*b"decoy decoy dec.")),
            password: Credential::Password(ClearPassword::new("decoy decoy").expect("the text is not empty")),
        }
    }

    /// The decoy of that form, for [`needs_slow_hash`](super::needs_slow_hash). To refuse, call [`Decoy::refuse`].
    pub fn credential(&self, form: CredentialForm) -> &Credential {
        match form {
            CredentialForm::Argon2id => &self.argon2id,
            CredentialForm::NtHash => &self.nt_hash,
            CredentialForm::Password => &self.password,
        }
    }

    /// Spends the time of a check and refuses, whatever the outcome. `form` is the one most users here have.
    pub fn refuse(&self, form: CredentialForm, user_name: &[u8], method: &Method<'_>) -> Why {
        black_box(verify(self.credential(form), user_name, method));
        Why::UnknownUser
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::argon::tests::cheapest;
    use super::*;

    #[test]
    fn even_the_decoys_own_password_is_refused() {
        let decoy = Decoy::new(cheapest());
        let method = Method::Pap { password: b"decoy decoy" };
        let real = verify(decoy.credential(CredentialForm::Password), b"nobody", &method);
        assert!(matches!(real, Verdict::Accepted(_)), "the decoy is compared for real");
        for form in [CredentialForm::Argon2id, CredentialForm::NtHash, CredentialForm::Password] {
            assert_eq!(decoy.refuse(form, b"nobody", &method), Why::UnknownUser);
        }
    }

    #[test]
    fn each_decoy_runs_the_real_comparison() {
        let decoy = Decoy::new(cheapest());
        for form in [CredentialForm::Argon2id, CredentialForm::NtHash, CredentialForm::Password] {
            let verdict = verify(decoy.credential(form), b"nobody", &Method::Pap { password: b"guess" });
            assert!(matches!(verdict, Verdict::Refused(Why::WrongPassword)), "{form}: {verdict:?}");
        }
    }
}
