//! What a relay may issue. A transfer is not among it: there is no way to build one here.

use crate::job::{Job, JobType};

/// The types of jobs that can be delegated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DelegatedType {
    /// Install.
    Install,
    /// Offer.
    Offer,
}

impl DelegatedType {
    /// The delegated type of a job's; `None` for a transfer.
    pub fn of(job_type: JobType) -> Option<DelegatedType> {
        match job_type {
            JobType::Install => Some(DelegatedType::Install),
            JobType::Offer => Some(DelegatedType::Offer),
            JobType::Transfer => None,
        }
    }

    /// The word, as in a delegation.
    pub fn as_str(self) -> &'static str {
        JobType::from(self).as_str()
    }
}

impl From<DelegatedType> for JobType {
    fn from(delegated: DelegatedType) -> JobType {
        match delegated {
            DelegatedType::Install => JobType::Install,
            DelegatedType::Offer => JobType::Offer,
        }
    }
}

/// A job that a relay may sign: an install or an offer in its own name, whatever it was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelegatedJob(Job);

impl DelegatedJob {
    /// Makes one.
    pub fn new(job_type: DelegatedType, relay: &str, job: Job) -> DelegatedJob {
        let mut job = Job { job_type: job_type.into(), ..job };
        relay.clone_into(&mut job.key.issuer);
        DelegatedJob(job)
    }

    /// The job.
    pub fn job(&self) -> &Job {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::tests::job;

    #[test]
    fn there_is_no_delegated_transfer_and_no_other_issuer() {
        assert_eq!(DelegatedType::of(JobType::Transfer), None);
        for job_type in [DelegatedType::Install, DelegatedType::Offer] {
            let transfer = Job { job_type: JobType::Transfer, ..job(1, vec![]) };
            let made = DelegatedJob::new(job_type, "osaka", transfer);
            assert_eq!((made.job().job_type, made.job().key.issuer.as_str()), (job_type.into(), "osaka"));
            assert_eq!(DelegatedType::of(made.job().job_type), Some(job_type));
        }
    }
}
