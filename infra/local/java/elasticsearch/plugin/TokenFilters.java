package weir.analysis;

import java.util.function.UnaryOperator;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.en.EnglishMinimalStemFilter;
import org.apache.lucene.analysis.en.EnglishPossessiveFilter;
import org.apache.lucene.analysis.en.KStemFilter;
import org.apache.lucene.analysis.en.PorterStemFilter;
import org.apache.lucene.analysis.miscellaneous.LengthFilter;
import org.apache.lucene.analysis.snowball.SnowballFilter;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.index.analysis.AbstractTokenFilterFactory;
import org.elasticsearch.index.analysis.TokenFilterFactory;

/** Token filters that are one Lucene filter each. */
final class TokenFilters {
    private TokenFilters() {}

    static TokenFilterFactory of(String name, UnaryOperator<TokenStream> filter) {
        return new AbstractTokenFilterFactory(name) {
            @Override
            public TokenStream create(TokenStream in) {
                return filter.apply(in);
            }
        };
    }

    /**
     * {@code language} (or {@code name}) of the stemmer. The English ones and every language of Snowball; others of the official
     * image are refused rather than replaced by something else.
     */
    static TokenFilterFactory stemmer(String name, Settings settings) {
        String language = settings.get("language", settings.get("name", "porter"));
        return switch (language) {
            case "english", "porter" -> of(name, PorterStemFilter::new);
            case "porter2" -> of(name, in -> new SnowballFilter(in, "English"));
            case "light_english", "lightEnglish", "kstem" -> of(name, KStemFilter::new);
            case "minimal_english", "minimalEnglish" -> of(name, EnglishMinimalStemFilter::new);
            case "possessive_english", "possessiveEnglish" -> of(name, EnglishPossessiveFilter::new);
            case "lovins" -> of(name, in -> new SnowballFilter(in, "Lovins"));
            case "danish", "dutch", "finnish", "french", "german", "hungarian", "italian", "norwegian", "portuguese", "russian",
                "spanish", "swedish" -> of(name, in -> new SnowballFilter(in, capitalised(language)));
            default -> throw new IllegalArgumentException(
                "the stemmer [" + name + "] asks for the language [" + language + "], which this local node does not have"
            );
        };
    }

    static TokenFilterFactory snowball(String name, Settings settings) {
        String language = capitalised(settings.get("language", settings.get("name", "English")));
        return of(name, in -> new SnowballFilter(in, language));
    }

    static TokenFilterFactory length(String name, Settings settings) {
        int min = settings.getAsInt("min", 0);
        int max = settings.getAsInt("max", Integer.MAX_VALUE);
        return of(name, in -> new LengthFilter(in, min, max));
    }

    private static String capitalised(String word) {
        return Character.toUpperCase(word.charAt(0)) + word.substring(1);
    }
}
