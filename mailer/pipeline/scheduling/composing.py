"""The writers of a blast's messages, as its files say it now."""

from __future__ import annotations

from mailer.mail import message, template
from mailer.pipeline.scheduling.draft import Draft
from mailer.pipeline.scheduling.moving import Desk
from mailer.store import blasts


def composers(
    desk: Desk, found: blasts.Blast, written: Draft
) -> dict[str, message.Composer]:
    """Return the composer of each variant, by its name."""
    shared = message.Blast(
        id=found.id,
        name=found.name,
        topic=found.topic,
        organization=desk.settings.organization.words,
        public_url=desk.settings.public.url,
        ring=desk.settings.keys,
        signers=desk.settings.signers,
        bounce_domain=desk.settings.returns.domain,
        has_metadata=desk.settings.returns.metadata,
        deadline=written.expires_at,
    )
    return {
        arm["name"]: message.Composer(
            template.Compiled.from_document(arm["compiled"]),
            blast=shared,
            variant=position,
            sender=arm["from"],
            reply_to=written.body["reply_to"],
            name=arm["template"],
        )
        for position, arm in enumerate(written.body["variants"], 1)
    }
