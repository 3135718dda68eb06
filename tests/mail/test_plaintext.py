import pytest

from mailer.mail import plaintext, tokens


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>One</p>\n<p>Two\n  words</p>", "One\n\nTwo words\n"),
        ("a<br>b<br/>\n<b>c</b> d", "a\nb\nc d\n"),
        ("<div>a</div><div>b</div>", "a\nb\n"),
        ("<p>a <b>b</b><i> c</i>, d</p>", "a b c, d\n"),
        ("<h1>T</h1><ul><li>a</li><li>b</li></ul>z", "T\n\n- a\n- b\n\nz\n"),
        ("a<hr>b", "a\n\n---\n\nb\n"),
        ("&lt;b&gt; &amp; &nbsp;&#8212; ü", "<b> & — ü\n"),
        ("<style>p{}</style><title>t</title>x", "x\n"),
        ('x<div style="display:none">y<br><img>z</div>w', "xw\n"),
        ("<!--[if mso]><p>outlook</p><![endif]-->x", "x\n"),
        ("<!--[if !mso]><!--><p>others</p><!--<![endif]-->", "others\n"),
        ('<a href="https://e.org/">us</a>', "us (https://e.org/)\n"),
        ('<a href="https://e.org/">https://e.org/</a>', "https://e.org/\n"),
        ('<a href="mailto:a@e.org">a@e.org</a>', "a@e.org\n"),
        ('<a href="#top">up</a>', "up\n"),
        ('<a href="https://e.org/"><img alt="Give"></a>', "Give (https://e.org/)\n"),
        ('<a href="https://e.org/"><img></a>', "https://e.org/\n"),
        ('<img alt="a tree">x', "x\n"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc\n"),
        (
            '<table role="presentation"><tr><td>a</td></tr><tr><td>b</td></tr></table>',
            "a\n\nb\n",
        ),
        ("{{ x }}{% y %}", "{{ '{' }}{ x }}{{ '{' }}% y %}\n"),
        ("a < b", "a < b\n"),
    ],
)
def test_text_reads_as_the_page_looks(html: str, text: str) -> None:
    assert plaintext.from_html(html, tokens.Tokens(prefix="jx")) == text
