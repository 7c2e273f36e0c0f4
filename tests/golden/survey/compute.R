# What R's package "survey" makes of designs.csv (Debian: r-cran-survey):
#   Rscript tests/golden/survey/compute.R > tests/golden/survey/results.csv
suppressMessages(library(survey))
here <- dirname(sub("--file=", "", grep("--file=", commandArgs(FALSE), value = TRUE)))
points <- read.csv(file.path(here, "designs.csv"), colClasses = c(plot = "character"))

line <- function(design, figure, class, found) {
  cat(sprintf("%d,%s,%s,%.17g,%.17g\n", design, figure, class, coef(found), SE(found)))
}

cat("design,figure,class,estimate,standard_error\n")
for (number in unique(points$design)) {
  here_points <- points[points$design == number, ]
  here_points$weight <- here_points$pixels / ave(here_points$pixels, here_points$stratum, FUN = length)
  sizes <- unique(here_points[c("stratum", "pixels")])
  names(sizes) <- c("stratum", "Freq")
  base <- svydesign(ids = ~plot, strata = ~stratum, weights = ~weight, data = here_points)
  # What the strata are is known: plots of different sizes must not change it.
  design <- postStratify(base, ~stratum, sizes)
  design <- update(design, right = as.numeric(mapped == reference))
  line(number, "overall", "", svymean(~right, design))
  for (class in sort(unique(c(here_points$mapped, here_points$reference)))) {
    design <- update(design,
      both = as.numeric(mapped == class & reference == class),
      on_map = as.numeric(mapped == class),
      in_truth = as.numeric(reference == class),
      twice = 2 * both, either = on_map + in_truth)
    line(number, "share", class, svymean(~in_truth, design))
    ratios <- list(users = c("both", "on_map"), producers = c("both", "in_truth"), f1 = c("twice", "either"))
    for (figure in names(ratios)) {
      parts <- ratios[[figure]]
      if (sum(here_points$weight * design$variables[[parts[2]]]) > 0) {
        line(number, figure, class, svyratio(reformulate(parts[1]), reformulate(parts[2]), design))
      }
    }
  }
}
