//! Hostile templates end early, with an error of one line, on a small stack, and nothing in them
//! panics.
use std::cell::Cell;
use std::time::{Duration, Instant};

use hardtack::text::{ChatTemplate, Message, RenderInput, RenderLimits, TemplateError};

/// Far above what a debug build takes on a busy machine; a release build takes about a second.
const TIME_MAX: Duration = Duration::from_secs(30);

fn render(source: &str, messages: &[Message]) -> Result<String, TemplateError> {
    let rendered = ChatTemplate::new(source, "<s>", "</s>")?.render(&RenderInput::new(messages))?;
    Ok(rendered.text().to_owned())
}

/// On a thread of a size that a program may give us.
fn render_on_small_stack(source: String) -> Result<String, String> {
    let thread = std::thread::Builder::new().stack_size(1 << 20);
    let messages = [Message::new("user", "hi")];
    let run = move || render(&source, &messages).map_err(|error| error.to_string());
    thread.spawn(run).unwrap().join().unwrap()
}

#[test]
fn what_panicked_an_engine_is_answered() {
    let one = [Message::new("user", "hi")];
    assert_eq!(render("{{ [][::-1] }}{{ ''[::-1] }}|", &one).unwrap(), "[]|");
    assert_eq!(
        render("{% for m in messages[1:][::-1] %}x{% endfor %}{{ messages[0].content }}", &one)
            .unwrap(),
        "hi"
    );
    assert_eq!(render("{% for m in messages[::-1] %}x{% endfor %}.", &[]).unwrap(), ".");
    assert!(matches!(render("{{ 1 is divisibleby(0) }}", &one), Err(TemplateError::Render(_))));
}

#[test]
fn operations_on_long_texts_are_paid_for() {
    // A text of 8192 characters, and a million turns of a loop that do something with them.
    let setup = "{% set ns = namespace(s='abcdefgh', l=[1]) %}{% for i in range(10) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{% for i in range(10) %}{% set ns.l = ns.l + ns.l %}{% endfor %}{% set s = ns.s %}{% set t = s[1:] ~ 'a' %}{% set l = ns.l %}{% set r = range(1000) %}";
    // A fiftieth of the default limits: a debug build is slow.
    let limits = RenderLimits { steps: 50_000, output_bytes: 10_000 };
    let render = |source: &str| {
        ChatTemplate::new(source, "", "").unwrap().render(&RenderInput::new(&[]).limits(limits))
    };
    assert_eq!(render(setup).map(|rendered| rendered.text().to_owned()).as_deref(), Ok(""));
    for operation in [
        "s.isalnum()",
        "'zz' in s",
        "s == t",
        "s < t",
        "s.count('b')",
        "s.find('hgf')",
        "s.rfind('hgf')",
        "s|min",
        "s.startswith(s)",
        "s|wordcount",
        "s|int",
        "s|float",
        "s is upper",
        "s.islower()",
        "s.replace('zz', '')",
        "s.split('zz')",
        "s.strip('abcdefgh')",
        "s|trim('abcdefgh')",
        "s|upper",
        "s|length == s.lower()|length",
        "s|tojson|length",
        "'%s' % s",
        "'{}'.format(s)",
        "s[::2]|length",
        "s[::-1]",
        "s|list|length",
        "s.title()",
        "s.translate({97: none})",
        "s.expandtabs()",
        "s.splitlines()",
        "s|indent|length",
        "s.zfill(3000000)",
        "7 in l",
        "l == l[:]",
        "l|sum",
        "l|max",
        "l|unique|list",
        "l|sort",
        "l|join",
        "l|tojson|length",
        "l|string|length",
        "l|map('string')|list",
        "l|select('even')|list",
        "l.count(7)",
        "l|reverse|list",
        "s|replace('zz', 'y')",
        "s|truncate(5)",
        "s|urlencode",
        "s|capitalize",
        "s|escape",
        "s.partition('zz')",
        "s.isidentifier()",
        "s * 2 == s * 2",
        "l * 3 == l",
        "namespace(a=s, b=l)",
        "dict(a=l)|length",
        "(s ~ s)|length",
        "s.casefold()",
        "s.encode is defined and s.isprintable()",
    ] {
        let source = format!(
            "{setup}{{% for a in r %}}{{% for b in r %}}{{% if {operation} %}}{{% endif %}}{{% endfor %}}{{% endfor %}}"
        );
        let start = Instant::now();
        let result = render(&source);
        let spent = start.elapsed();
        assert!(
            matches!(result, Err(TemplateError::Steps(_) | TemplateError::Memory(_))),
            "{operation}: {result:?}"
        );
        assert!(spent < TIME_MAX, "{operation}: {spent:?}");
    }
}

#[test]
fn many_names_are_paid_for() {
    let names: String = (0..6000).map(|index| format!("{{% set x{index} = 1 %}}")).collect();
    let long = "a".repeat(100_000);
    let parameters: Vec<String> = (0..9000).map(|index| format!("p{index}")).collect();
    for source in [
        format!(
            "{names}{{% for a in range(1000) %}}{{% for b in range(1000) %}}{{{{ nothing }}}}{{% endfor %}}{{% endfor %}}"
        ),
        format!(
            "{{% for a in range(1000) %}}{{% for b in range(1000) %}}{{{{ messages.{long} }}}}{{% endfor %}}{{% endfor %}}"
        ),
        format!(
            "{{% for a in range(1000) %}}{{% for b in range(1000) %}}{{{{ {long} }}}}{{% endfor %}}{{% endfor %}}"
        ),
        format!(
            "{{% macro f({}) %}}{{{{ f(1) }}}}{{% endmacro %}}{{{{ f() }}}}",
            parameters.join(",")
        ),
    ] {
        let start = Instant::now();
        assert!(render(&source, &[]).is_err(), "{}", &source[..60]);
        assert!(start.elapsed() < TIME_MAX, "{}: {:?}", &source[..60], start.elapsed());
    }
}

#[test]
fn depth_fits_a_small_stack() {
    let repeated = |start: &str, part: &str, count: usize, end: &str| {
        start.to_owned() + &part.repeat(count) + end
    };
    for source in [
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}".to_owned(),
        "{% macro f(x) %}{% if x %}{% for i in [1] %}{{ [[[f(x) ~ 'a']]] }}{% endfor %}{% endif %}{% endmacro %}{{ f(1) }}".to_owned(),
        "{% for x in messages recursive %}{{ loop(messages) }}{% endfor %}".to_owned(),
        "{% macro f() %}{{ caller() }}{% call f() %}{{ f() }}{% endcall %}{% endmacro %}{% call f() %}{% endcall %}".to_owned(),
        "{% set n = namespace(x=[1]) %}{% for i in range(999) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x }}".to_owned(),
        "{% set n = namespace(x={}) %}{% for i in range(999) %}{% set n.x = {'a': n.x.items()} %}{% endfor %}{{ n.x }}".to_owned(),
        "{% set n = namespace() %}{% set n.n = [n] %}{{ n }}".to_owned(),
        repeated("{{ ", "(", 5000, "1"),
        repeated("{{ ", "[", 5000, "1"),
        repeated("{{ 1", " if 1", 5000, "}}"),
        repeated("{{ 1", "[1", 5000, ""),
        repeated("{{ f", "(f", 5000, ""),
        repeated("{{ 1", " is x(1", 5000, ""),
        repeated("", "{% if true %}", 5000, ""),
        repeated("", "{% for x in messages %}", 5000, ""),
        repeated("", "{% macro f() %}", 5000, ""),
        repeated("{% set ", "(", 5000, "a"),
        "{{ '{0:{0:{0:{0}}}}'.format(1) }}".to_owned(),
    ] {
        let short = source[..source.len().min(60)].to_owned();
        let Err(error) = render_on_small_stack(source) else { panic!("{short}") };
        assert!(!error.contains('\n') && error.len() < 600, "{error}");
    }
    // As deep as a template may be.
    let deep = repeated(&repeated("", "{% if true %}", 20, "{{ "), "(", 20, "1")
        + &")".repeat(20)
        + " }}"
        + &"{% endif %}".repeat(20);
    assert_eq!(render_on_small_stack(deep).unwrap(), "1");
    let lists = repeated(
        "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x] %}{% endfor %}",
        "{{ n.x == n.x }}",
        1,
        "{{ n.x|tojson }}{{ n.x }}",
    );
    assert!(render_on_small_stack(lists).unwrap().starts_with("True[[["));
}

#[test]
fn messages_of_errors_are_short() {
    let text = "{% set ns = namespace(s='abcdefgh') %}{% for i in range(17) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}";
    for end in [
        "{{ raise_exception(ns.s) }}",
        "{{ [][ns.s].x }}",
        "{{ namespace()[ns.s].x }}",
        "{{ 1 + ns.s }}",
        "{{ ns.s() }}",
    ] {
        let error = render(&format!("{text}{end}"), &[]).unwrap_err().to_string();
        assert!(error.len() < 400 && !error.contains('\n'), "{} bytes: {end}", error.len());
    }
    let long = "a".repeat(50_000);
    for source in [
        format!("{{% {long} %}}"),
        format!("{{{{ {long}.x }}}}"),
        format!("{{{{ 1 | {long} }}}}"),
        format!("{{{{ 1 is {long} }}}}"),
    ] {
        let error = render(&source, &[]).unwrap_err().to_string();
        assert!(error.len() < 400, "{} bytes", error.len());
    }
}

#[test]
fn rendering_can_be_interrupted() {
    let template = ChatTemplate::new(
        "{% for a in range(1000) %}{% for b in range(1000) %}{% endfor %}{% endfor %}",
        "",
        "",
    );
    let asked = Cell::new(0);
    let interrupted = || {
        asked.set(asked.get() + 1);
        asked.get() == 3
    };
    let limits = RenderLimits { steps: u64::MAX, ..RenderLimits::default() };
    let input = RenderInput::new(&[]).limits(limits).interrupted(&interrupted);
    assert_eq!(template.unwrap().render(&input), Err(TemplateError::Interrupted));
    assert_eq!(asked.get(), 3);
}

#[test]
fn memory_is_held_to_its_limit() {
    let limits = RenderLimits { output_bytes: 1000, ..RenderLimits::default() };
    for source in [
        "{% set x = 'a' * 3000000 %}",
        "{% set ns = namespace(x=[0]) %}{% for i in range(30) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% for i in range(99999) %}{% set ns = namespace(x=i) %}{% set ns = cycler(1) %}{% endfor %}",
        "{% for i in range(99999) %}{% macro f() %}{% endmacro %}{% endfor %}",
        "{% set d = {'a':1,'b':2,'c':3,'d':4,'e':5,'f':6,'g':7,'h':8} %}{% for i in range(20000) %}{% set x = namespace(d) %}{% endfor %}",
        "{% set ns = namespace(x=[0|attr('a')]) %}{% for i in range(15) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    ] {
        let result = ChatTemplate::new(source, "", "")
            .unwrap()
            .render(&RenderInput::new(&[]).limits(limits));
        assert_eq!(result, Err(TemplateError::Memory(limits.memory_bytes())), "{source}");
    }
    // What is given up is given back.
    let source = "{% for i in range(1000) %}{% set x = 'a' * 300000 %}{% endfor %}ok";
    let result = ChatTemplate::new(source, "", "")
        .unwrap()
        .render(&RenderInput::new(&[]).limits(RenderLimits { steps: 10_000_000, ..limits }));
    assert_eq!(result.unwrap().text(), "ok");
}

#[test]
fn numbers_that_are_none_are_sorted_without_a_panic() {
    let source =
        "{% set l = (range(40)|list + ['nan'|float] * 7) * 9 %}{{ (l + l[::-1])|sort|length }}";
    assert_eq!(render(source, &[]).as_deref(), Ok("846"));
}

#[test]
fn input_that_is_nested_too_deep_is_refused() {
    let deep = (0..100_000).fold(serde_json::Value::Null, |inner, _| vec![inner].into());
    let messages = [Message::new("user", deep)];
    let error = render("{{ messages }}", &messages).unwrap_err().to_string();
    assert!(error.contains("nested too deep"), "{error}");
    // Dropping it would take as many frames.
    std::mem::forget(messages);
}

#[test]
fn names_that_a_format_looks_through_are_paid_for() {
    let names: Vec<String> = (0..4000).map(|index| format!("x{index}=1")).collect();
    let source = format!(
        "{{% set f = '{{x3999}}' * 20000 %}}{{% for i in range(400) %}}{{% set y = f.format({}) %}}{{% endfor %}}",
        names.join(",")
    );
    let start = Instant::now();
    assert!(matches!(render(&source, &[]), Err(TemplateError::Steps(_))));
    assert!(start.elapsed() < TIME_MAX);
}
