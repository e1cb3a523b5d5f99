//! The formats of labelled data.

use super::Error;
use std::fmt;
use std::str::FromStr;

/// How a file of labelled data is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Objects, one per line or in an array, with the fields that a kind of task encodes, and the gold answer:
    ///
    /// | kind | fields | gold |
    /// | --- | --- | --- |
    /// | relation classification | `text` with `subject` and `object` as `[start, end]`, or with `<e1>`, `<e2>`; or `token` with `subj_start` … | `label` or `relation`, a text |
    /// | entity typing | `text` or `sent` with `start` and `end`, or with `<e>` | `labels`, a list of texts |
    /// | multiple choice | `context`, `question`, `answers` or `answer0` … | `label` or `answer`, the index from 0 |
    /// | span | `question`, `context` | `answers`, a list of texts or of `{text, answer_start}`, or `answer`, a text |
    /// | sequence classification | `text` | `label`, a text |
    /// | heads | `words` | `heads`, the governor of each word from 1, 0 for the root; perhaps `deprels` |
    Json,
    /// TACRED's own format, and that of T-REx-rc, on which the paper's factual adapter was trained.
    Tacred,
    /// SemEval-2010 task 8, as it was distributed.
    Semeval,
    /// FewRel's format.
    Fewrel,
    /// The format of OpenEntity and FIGER in the paper's code.
    OpenEntity,
    /// CosmosQA, as CSV or as objects.
    Cosmosqa,
    /// SQuAD 1.1 and 2.0 (questions without an answer have none to find), or flat objects.
    Squad,
    /// CoNLL-U.
    Conllu,
    /// CoNLL-U, each word a record of its own: a mention whose label is the word's relation to its head.
    ConlluWords,
    /// The format on which the paper's linguistic adapter was trained (paper section 3.3.2).
    LinAdapter,
    /// Tab-separated: relation, subject id, object id, subject, object, sentence with `[MASK]` for the object.
    TrexTable,
    /// Tab-separated: synset, file, relation, head, tail, gloss. Head and tail are looked up in the gloss.
    WordnetTable,
    /// Like [`Format::WordnetTable`], with the head put before the gloss: `physical entity : an entity that …`.
    WordnetDefined,
    /// LAMA's probes.
    Lama,
}

impl Format {
    /// Every format, in the order in which they are documented.
    pub const ALL: [Self; 14] = [
        Self::Json,
        Self::Tacred,
        Self::Semeval,
        Self::Fewrel,
        Self::OpenEntity,
        Self::Cosmosqa,
        Self::Squad,
        Self::Conllu,
        Self::ConlluWords,
        Self::LinAdapter,
        Self::TrexTable,
        Self::WordnetTable,
        Self::WordnetDefined,
        Self::Lama,
    ];

    /// The word for it in `format = "…"` and `--format`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Tacred => "tacred",
            Self::Semeval => "semeval",
            Self::Fewrel => "fewrel",
            Self::OpenEntity => "openentity",
            Self::Cosmosqa => "cosmosqa",
            Self::Squad => "squad",
            Self::Conllu => "conllu",
            Self::ConlluWords => "conllu-words",
            Self::LinAdapter => "lin-adapter",
            Self::TrexTable => "trex-table",
            Self::WordnetTable => "wordnet-table",
            Self::WordnetDefined => "wordnet-defined",
            Self::Lama => "lama",
        }
    }

    /// A record of the format, short enough for a hint.
    pub(super) fn example(self) -> &'static str {
        match self {
            Self::Json => "{\"text\": \"<e1>Ada</e1> was born in <e2>London</e2>.\", \"label\": \"place of birth\"}",
            Self::Tacred => {
                "{\"token\": [\"Ada\", \"left\", \"London\"], \"subj_start\": 0, \"subj_end\": 0, \"obj_start\": 2, \
                 \"obj_end\": 2, \"relation\": \"no_relation\"}"
            }
            Self::Semeval => "1<TAB>\"The <e1>lid</e1> of the <e2>pot</e2> fell.\", then `Component-Whole(e1,e2)`",
            Self::Fewrel => {
                "{\"P19\": [{\"tokens\": [\"Ada\", \"left\", \"London\"], \"h\": [\"ada\", \"Q7259\", [[0]]], \"t\": \
                 [\"london\", \"Q84\", [[2]]]}]}"
            }
            Self::OpenEntity => "{\"sent\": \"Ada wrote it.\", \"start\": 0, \"end\": 3, \"labels\": [\"person\"]}",
            Self::Cosmosqa => {
                "{\"context\": \"It rained.\", \"question\": \"Why is it wet?\", \"answer0\": \"The rain.\", \"answer1\": \
                 \"The sun.\", \"label\": \"0\"}"
            }
            Self::Squad => "{\"question\": \"Who wrote it?\", \"context\": \"Ada wrote it.\", \"answers\": [\"Ada\"]}",
            Self::Conllu | Self::ConlluWords => "1<TAB>Go<TAB>go<TAB>VERB<TAB>_<TAB>_<TAB>0<TAB>root<TAB>_<TAB>_",
            Self::LinAdapter => {
                "{\"sent\": \"Ada wrote\", \"tokens\": [{\"1\": {\"start\": 0, \"end\": 3}}, {\"2\": {\"start\": 4, \
                 \"end\": 9}}], \"pairs\": [{\"dependent_index\": 1, \"governor_index\": 2}, {\"dependent_index\": 2, \
                 \"governor_index\": 0}]}"
            }
            Self::TrexTable => "P19<TAB>Q7259<TAB>Q84<TAB>Ada<TAB>London<TAB>Ada was born in [MASK].",
            Self::WordnetTable | Self::WordnetDefined => {
                "n00001930<TAB>3<TAB>hypernym<TAB>physical entity<TAB>entity<TAB>an entity that has physical existence"
            }
            Self::Lama => "{\"masked_sentences\": [\"Ada was born in [MASK].\"], \"obj_label\": \"London\"}",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|format| format.as_str() == text);
        found.ok_or_else(|| Error::FormatUnknown { found: text.to_owned() })
    }
}
