//! outline.make: an example of the Rust SDK.

use arw_guest::{object, Result, Tools};

object! { struct Input { markdown: String, depth: Option<usize> } }
object! { struct Heading { level: usize, number: String, title: String, line: usize } }
object! { struct Outline { headings: Vec<Heading> } }

arw_guest::export!(register);

fn register(tools: &mut Tools) {
    tools.add("outline.make", outline);
}

fn outline(input: Input) -> Result<Outline> {
    let depth = input.depth.unwrap_or(6);
    let (mut headings, mut counts, mut fence) = (Vec::new(), [0; 6], None);
    for (i, line) in input.markdown.lines().enumerate() {
        let mark = line.trim_start().get(..3).filter(|m| *m == "```" || *m == "~~~");
        if mark.is_some() && (fence.is_none() || fence == mark) {
            fence = if fence.is_none() { mark } else { None };
            continue;
        }
        match heading(line) {
            Some((level, title)) if fence.is_none() && level <= depth => {
                counts[level - 1] += 1;
                counts[level..].fill(0);
                let number: Vec<String> = counts[..level].iter().map(usize::to_string).collect();
                headings.push(Heading { level, number: number.join("."), title: title.to_string(), line: i + 1 });
            }
            _ => {}
        }
    }
    Ok(Outline { headings })
}

fn heading(line: &str) -> Option<(usize, &str)> {
    let rest = line.trim_start_matches('#');
    let level = line.len() - rest.len();
    if level == 0 || level > 6 || !(rest.is_empty() || rest.starts_with(' ')) {
        return None;
    }
    Some((level, rest.trim().trim_end_matches('#').trim_end()))
}
