"""`/v1/jobs/JOB/certificate`: what a receipt proves, for people, as JSON or PDF."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from marketplace.api.access import Caller, JobId, LanguageCode, ServicesDep, saved
from marketplace.api.shares import count_account
from marketplace.certificates import certificate as certificate_for
from marketplace.console import certificate_paper
from marketplace.console.languages import LANGUAGES
from prixfixe.client.certificates import certificate_bytes
from prixfixe.protocol.certificate import Certificate

router = APIRouter(prefix="/jobs", tags=["jobs"])

_PDF = "application/pdf"


@router.get("/{job}/certificate", response_model=Certificate, responses={200: {"content": {_PDF: {}}}})
def certificate(
    request: Request,
    services: ServicesDep,
    caller: Caller,
    job: JobId,
    response: Response,
    language: LanguageCode = "en",
) -> Any:
    """What was checked of a job that has ended, and what was not; as a PDF where `Accept` names it."""
    if _PDF in request.headers.get("accept", ""):
        return certificate_pdf(services, caller, job, response, language)
    return certificate_json(services, caller, job)


@router.get("/{job}/certificate.json", response_model=Certificate)
def certificate_json(services: ServicesDep, caller: Caller, job: JobId) -> Any:
    """The same in canonical JSON (RFC 8785)."""
    found = certificate_for(services.market, services.receipts, services.jobs, job, caller)
    return saved(certificate_bytes(found), "application/json", f"certificate-{job}.json")


@router.get("/{job}/certificate.pdf", response_class=Response)
def certificate_pdf(
    services: ServicesDep, caller: Caller, job: JobId, response: Response, language: LanguageCode = "en"
) -> Response:
    """The same for a file of papers."""
    count_account(services, "papers", caller, response)
    found = certificate_for(services.market, services.receipts, services.jobs, job, caller)
    written = certificate_paper.certificate_pdf(found, LANGUAGES[language])
    return saved(written, _PDF, f"certificate-{job}.pdf", response)
