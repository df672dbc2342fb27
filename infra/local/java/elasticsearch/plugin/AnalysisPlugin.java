package weir.analysis;

import java.util.List;
import java.util.Map;
import org.apache.lucene.analysis.core.FlattenGraphFilter;
import org.apache.lucene.analysis.core.KeywordTokenizer;
import org.apache.lucene.analysis.core.WhitespaceTokenizer;
import org.apache.lucene.analysis.en.PorterStemFilter;
import org.apache.lucene.analysis.miscellaneous.ASCIIFoldingFilter;
import org.apache.lucene.analysis.miscellaneous.RemoveDuplicatesTokenFilter;
import org.apache.lucene.analysis.miscellaneous.TrimFilter;
import org.elasticsearch.index.analysis.PreConfiguredTokenFilter;
import org.elasticsearch.index.analysis.PreConfiguredTokenizer;
import org.elasticsearch.index.analysis.TokenFilterFactory;
import org.elasticsearch.index.analysis.TokenizerFactory;
import org.elasticsearch.indices.analysis.AnalysisModule.AnalysisProvider;
import org.elasticsearch.plugins.Plugin;

/**
 * The analysis parts that the published server jar lacks, under their official names and with their official settings, so
 * that the same index settings work here and on the official image (whose analysis-common module has them).
 *
 * <p>The server itself already has: the {@code standard} tokenizer; the filters {@code lowercase}, {@code stop} and
 * {@code shingle}.
 */
public final class AnalysisPlugin extends Plugin implements org.elasticsearch.plugins.AnalysisPlugin {

    @Override
    public Map<String, AnalysisProvider<TokenizerFactory>> getTokenizers() {
        return Map.of(
            "whitespace", (index, environment, name, settings) -> Tokenizers.whitespace(name, settings),
            "pattern", (index, environment, name, settings) -> Tokenizers.pattern(name, settings),
            "keyword", (index, environment, name, settings) -> Tokenizers.keyword(name, settings)
        );
    }

    @Override
    public Map<String, AnalysisProvider<TokenFilterFactory>> getTokenFilters() {
        return Map.of(
            "word_delimiter_graph", (index, environment, name, settings) -> new WordDelimiterGraph(environment, name, settings),
            "flatten_graph", (index, environment, name, settings) -> TokenFilters.of(name, FlattenGraphFilter::new),
            "stemmer", (index, environment, name, settings) -> TokenFilters.stemmer(name, settings),
            "snowball", (index, environment, name, settings) -> TokenFilters.snowball(name, settings),
            "porter_stem", (index, environment, name, settings) -> TokenFilters.of(name, PorterStemFilter::new),
            "asciifolding", (index, environment, name, settings) -> new AsciiFolding(name, settings),
            "length", (index, environment, name, settings) -> TokenFilters.length(name, settings),
            "trim", (index, environment, name, settings) -> TokenFilters.of(name, TrimFilter::new),
            "remove_duplicates", (index, environment, name, settings) ->
                TokenFilters.of(name, RemoveDuplicatesTokenFilter::new)
        );
    }

    /** What an analyzer may name without defining it first. */
    @Override
    public List<PreConfiguredTokenizer> getPreConfiguredTokenizers() {
        return List.of(
            PreConfiguredTokenizer.singleton("whitespace", WhitespaceTokenizer::new),
            PreConfiguredTokenizer.singleton("keyword", KeywordTokenizer::new)
        );
    }

    @Override
    public List<PreConfiguredTokenFilter> getPreConfiguredTokenFilters() {
        return List.of(
            // `true`: the filter also applies where a query's single terms are normalised, and in normalizers.
            PreConfiguredTokenFilter.singleton("asciifolding", true, ASCIIFoldingFilter::new),
            PreConfiguredTokenFilter.singleton("trim", true, TrimFilter::new),
            PreConfiguredTokenFilter.singleton("flatten_graph", false, FlattenGraphFilter::new),
            PreConfiguredTokenFilter.singleton("porter_stem", false, PorterStemFilter::new),
            PreConfiguredTokenFilter.singleton("remove_duplicates", false, RemoveDuplicatesTokenFilter::new),
            PreConfiguredTokenFilter.singleton("word_delimiter_graph", false, false, WordDelimiterGraph::withDefaults)
        );
    }
}
