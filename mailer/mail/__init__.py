"""The only door to SMTP and MJML: templates, messages, sessions."""
